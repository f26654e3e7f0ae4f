//! The five calls, as docs/sdk.md shows them.

use futures_util::TryStreamExt as _;
use llm_pool::{Client, Message, Query, Strategy, text_of};

#[tokio::main]
async fn main() -> Result<(), llm_pool::Error> {
    let url = std::env::var("LLM_POOL_URL").unwrap_or_else(|_| "http://127.0.0.1:7071".to_owned());
    let pool = Client::new(&url)?;
    println!("{}", pool.health().await?.healthy);

    let query = Query {
        strategy: Some(Strategy::Voting),
        deadline_ms: Some(20_000.0),
        no_cache: true,
        ..Query::new("Is 17 prime?")
    };
    let answer = pool.infer(query).await?;
    println!("{} {}", answer.content, answer.decision.reason);
    println!("{}", pool.feedback(&answer.request_id, true).await?);

    let mut pieces = text_of(pool.stream("Tell me of the sea."));
    while let Some(piece) = pieces.try_next().await? {
        print!("{piece}");
    }

    let messages =
        [Message::user("My name is Ada."), Message::assistant("Hello Ada."), Message::user("What is my name?")];
    println!("{}", pool.chat(&messages, Query::default()).await?.content);
    Ok(())
}
