//! The messages of gRPC from and to our own types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::pb;
use crate::answer::{Answer, Attempt, Cluster, Decision, Finish, Outcome, ToolCall, Usage};
use crate::error::Error;
use crate::event::Event;
use crate::health::{Health, ProviderState};
use crate::query::{Image, Query, Role, Strategy, Think, Tool, Turn};

/// What `deadline_ms` holds at most; a longer one is left to the call's own.
const MAX_DEADLINE_MS: f64 = 2_147_483_647.0;

/// *query* as a message.
pub(crate) fn query(query: &Query) -> Result<pb::Query, Error> {
    let prompt = query.prompt.as_str().map_or_else(|| query.prompt.to_string(), str::to_owned);
    let max_tokens = i32::try_from(query.max_tokens.unwrap_or_default());
    #[allow(clippy::cast_possible_truncation, reason = "it is clamped")]
    let deadline_ms = query.deadline_ms.map_or(0, |ms| ms.round().clamp(1.0, MAX_DEADLINE_MS) as i32);
    Ok(pb::Query {
        request_id: query.request_id.clone().unwrap_or_default(),
        tenant_id: query.tenant_id.clone().unwrap_or_default(),
        project_id: query.project_id.clone().unwrap_or_default(),
        task: pb::Task::Unspecified.into(),
        task_name: query.task.clone().unwrap_or_default(),
        prompt,
        max_tokens: max_tokens.map_err(|error| Error::invalid("max_tokens", "too many").because(error))?,
        deadline_ms,
        strategy: query.strategy.map_or(pb::Strategy::Unspecified, strategy_message).into(),
        meta: query.meta.clone(),
        no_cache: query.no_cache,
        think: match &query.think {
            None => String::new(),
            Some(Think::Switch(switch)) => switch.to_string(),
            Some(Think::Level(level)) => level.clone(),
        },
        turns: query.turns.iter().map(turn).collect::<Result<_, _>>()?,
        output_schema: query.output_schema.as_ref().map(Value::to_string).unwrap_or_default(),
        temperature: query.temperature,
        seed: query.seed,
        stop: query.stop.clone(),
        providers: query.providers.clone(),
        tools: query.tools.iter().map(tool).collect(),
        tool_choice: query.tool_choice.clone().unwrap_or_default(),
        parallel_tool_calls: query.parallel_tool_calls,
        images: query.images.iter().map(image).collect::<Result<_, _>>()?,
    })
}

fn turn(turn: &Turn) -> Result<pb::Turn, Error> {
    let role = match turn.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let calls = turn.tool_calls.iter().cloned();
    Ok(pb::Turn {
        role: role.to_owned(),
        text: turn.text.clone(),
        tool_calls: calls.map(|ToolCall { id, name, arguments }| pb::ToolCall { id, name, arguments }).collect(),
        tool_call_id: turn.tool_call_id.clone().unwrap_or_default(),
        images: turn.images.iter().map(image).collect::<Result<_, _>>()?,
    })
}

fn tool(tool: &Tool) -> pb::Tool {
    pb::Tool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.as_ref().map(Value::to_string).unwrap_or_default(),
    }
}

fn image(image: &Image) -> Result<pb::Image, Error> {
    let data = STANDARD.decode(&image.data);
    let data = data.map_err(|error| Error::invalid("images", "the data is no base64").because(error))?;
    Ok(pb::Image { media_type: image.media_type.clone(), data })
}

fn strategy_message(strategy: Strategy) -> pb::Strategy {
    match strategy {
        Strategy::Fastest => pb::Strategy::Fastest,
        Strategy::Voting => pb::Strategy::Voting,
        Strategy::Weighted => pb::Strategy::Weighted,
        Strategy::Consensus => pb::Strategy::Consensus,
        Strategy::Judge => pb::Strategy::Judge,
    }
}

/// The answer in *message*; `None` where it is none.
pub(crate) fn answer(message: pb::Answer) -> Option<Answer> {
    let usage = message.usage.unwrap_or_default();
    Some(Answer {
        request_id: message.request_id,
        task: message.task_name,
        content: message.content,
        json: value(&message.json)?,
        winner: message.winner,
        winner_model: message.winner_model,
        strategy_used: strategy(message.strategy_used)?,
        duration_ms: message.duration,
        from_cache: message.from_cache,
        age_ms: message.age_ms,
        degraded: message.degraded,
        finish: finish(&message.finish),
        tool_calls: message.tool_calls.into_iter().map(tool_call).collect(),
        usage: Usage { prompt_tokens: count(usage.prompt_tokens), completion_tokens: count(usage.completion_tokens) },
        decision: decision(message.decision?)?,
    })
}

fn decision(message: pb::EnsembleDecision) -> Option<Decision> {
    let cluster = |pb::Cluster { providers, score, label }| Cluster { providers, score, label };
    Some(Decision {
        strategy_asked: strategy(message.strategy_asked)?,
        strategy_used: strategy(message.strategy_used)?,
        winner: message.winner,
        reason: message.reason,
        models_queried: message.models_queried,
        scores: message.scores,
        agreement: message.agreement,
        margin: message.margin,
        confidence: message.confidence,
        clusters: message.clusters.into_iter().map(cluster).collect(),
        notes: message.notes,
        saved_calls: u32::try_from(message.saved_calls).unwrap_or_default(),
        degraded: message.degraded,
        degraded_reason: message.degraded_reason,
        missing: message.missing,
        judge: value(&message.judge)?.as_object().cloned(),
        attempts: message.attempts.into_iter().map(attempt).collect(),
    })
}

fn attempt(message: pb::Attempt) -> Attempt {
    Attempt {
        provider: message.provider,
        model: message.model,
        outcome: word(&message.outcome).unwrap_or(Outcome::Other),
        why: message.why,
        started_ms: message.started_ms,
        queued_ms: message.queued_ms,
        ttft_ms: message.ttft_ms,
        duration_ms: message.duration_ms,
        prompt_tokens: count(message.prompt_tokens),
        completion_tokens: count(message.completion_tokens),
        repaired_by: message.repaired_by,
        error: message.error,
        error_kind: message.error_kind,
        finish: message.finish.as_deref().map(finish),
        reasoning: message.reasoning,
    }
}

/// The event in *message*; `None` where it is none.
pub(crate) fn event(message: pb::answer_chunk::Event) -> Option<Event> {
    use pb::answer_chunk::Event as Chunk;
    Some(match message {
        Chunk::Start(pb::Start { provider, model, why, after_ms }) => Event::Start { provider, model, why, after_ms },
        Chunk::Waiting(pb::Waiting { provider, group, ahead }) => {
            Event::Waiting { provider, group, ahead: u32::try_from(ahead).unwrap_or_default() }
        }
        Chunk::Loading(pb::Loading { provider, model }) => Event::Loading { provider, model },
        Chunk::Reasoning(pb::Reasoning { provider, text }) => Event::Reasoning { provider, text },
        Chunk::Delta(pb::Delta { provider, text, r#final }) => Event::Delta { provider, text, is_final: r#final },
        Chunk::ToolCall(pb::ToolCallPiece { provider, index, id, name, arguments, r#final }) => Event::ToolCall {
            provider,
            index: u32::try_from(index).unwrap_or_default(),
            id,
            name,
            arguments,
            is_final: r#final,
        },
        Chunk::Candidate(pb::Candidate { provider, model, content, json, leading, tool_calls }) => Event::Candidate {
            provider,
            model,
            content,
            json: value(&json)?,
            tool_calls: tool_calls.into_iter().map(tool_call).collect(),
            leading,
        },
        Chunk::Attempt(message) => Event::Attempt(attempt(message)),
        Chunk::Answer(message) => Event::Answer(Box::new(answer(message)?)),
    })
}

/// How the providers are.
pub(crate) fn health(message: pb::HealthResponse) -> Health {
    let state = |pb::ProviderState { name, model, state, detail, hint, loaded }| ProviderState {
        name,
        model,
        state,
        detail,
        hint,
        loaded,
    };
    let providers = message.providers.into_iter().map(state).collect();
    Health { healthy: message.healthy, providers, version: message.version }
}

fn strategy(number: i32) -> Option<Strategy> {
    match pb::Strategy::try_from(number).ok()? {
        pb::Strategy::Unspecified => None,
        pb::Strategy::Fastest => Some(Strategy::Fastest),
        pb::Strategy::Voting => Some(Strategy::Voting),
        pb::Strategy::Weighted => Some(Strategy::Weighted),
        pb::Strategy::Consensus => Some(Strategy::Consensus),
        pb::Strategy::Judge => Some(Strategy::Judge),
    }
}

fn tool_call(pb::ToolCall { id, name, arguments }: pb::ToolCall) -> ToolCall {
    ToolCall { id, name, arguments }
}

fn finish(text: &str) -> Finish {
    if text.is_empty() { Finish::Stop } else { word(text).unwrap_or(Finish::Other) }
}

/// One of an enumeration by its name in JSON.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(text.into()).ok()
}

/// The JSON in *text*, null where it is empty; `None` where it is none.
fn value(text: &str) -> Option<Value> {
    if text.is_empty() { Some(Value::Null) } else { serde_json::from_str(text).ok() }
}

fn count(tokens: Option<i64>) -> Option<u64> {
    tokens.and_then(|tokens| u64::try_from(tokens).ok())
}
