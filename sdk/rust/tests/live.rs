//! Against real `llm-pool serve` processes, over each protocol there is.

mod support;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use llm_pool::{Budget, Client, Code, Credentials, Error, Event, Message, Outcome, Query, Strategy, text_of};
use support::Daemons;

const SCHEMES: &[&str] = if cfg!(feature = "grpc") { &["http", "grpc"] } else { &["http"] };

fn silent() -> Query {
    let providers = vec!["silent".to_owned()];
    Query { task: Some("expand_queries".to_owned()), providers, ..Query::new("cats") }
}

fn timed(prompt: &str, deadline_ms: f64) -> Query {
    Query { deadline_ms: Some(deadline_ms), ..Query::new(prompt) }
}

async fn the_calls(url: &str) {
    let pool = Client::new(url).expect("a client");

    let answer = pool.infer("Is 17 prime?").await.expect("an answer");
    assert!(answer.content.contains("Is 17 prime?"));
    assert_eq!(answer.winner, "phi3");
    assert_eq!(answer.decision.attempts[0].outcome, Outcome::Ok);

    let query = Query { task: Some("expand_queries".to_owned()), ..timed("lounge videos", 10_000.0) };
    assert!(pool.infer(query).await.expect("an answer").json["must_include"].is_array());

    let query = Query { no_cache: true, ..Query::new("Tell me of the sea.") };
    let events: Vec<_> = pool.stream(query.clone()).try_collect().await.expect("events");
    assert!(matches!(events.first(), Some(Event::Start { .. })));
    let Some(Event::Answer(answer)) = events.last() else { panic!("no answer") };
    let pieces: Vec<_> = text_of(pool.stream(query)).try_collect().await.expect("text");
    assert!(pieces.len() > 1);
    assert_eq!(pieces.concat(), answer.content);

    let messages =
        [Message::user("My name is Ada."), Message::assistant("Hello Ada."), Message::user("What is my name?")];
    let voting = Query { strategy: Some(Strategy::Voting), no_cache: true, ..timed("", 10_000.0) };
    let answer = pool.chat(&messages, voting).await.expect("an answer");
    assert!(answer.content.contains("What is my name?"));
    assert_eq!(answer.strategy_used, Strategy::Voting);

    pool.feedback(&answer.request_id, true).await.expect("it is taken");
    let error = pool.feedback("nobody-asked-this", true).await.expect_err("nobody asked this");
    assert_eq!(*error.code(), Code::InvalidRequest);

    let health = pool.health().await.expect("health");
    assert!(health.healthy);
    assert!(health.providers.iter().any(|provider| provider.name == "gemma2"));
}

async fn errors(url: &str) {
    let pool = Client::new(url).expect("a client");
    let wrong = Query { task: Some("expand_querys".to_owned()), ..Query::new("x") };

    let error = pool.infer(wrong.clone()).await.expect_err("there is no such task");
    let told = pool.stream(wrong).next().await.expect("an item").expect_err("likewise");

    assert_eq!((error.code(), error.field()), (&Code::InvalidRequest, Some("task")));
    assert!(error.hint().contains("expand_queries"));
    assert_eq!(told.to_string(), error.to_string());
}

async fn deadlines(url: &str) {
    let pool = Client::new(url).expect("a client");

    let error = pool.infer(Query { deadline_ms: Some(1500.0), ..silent() }).await.expect_err("nobody answers");

    assert_eq!(*error.code(), Code::DeadlineExceeded, "{error}");
    assert_eq!(error.details()["attempts"].as_array().map(Vec::len), Some(1), "{:?}", error.details());
}

async fn leaving(url: &str, http: &str) {
    let pool = Client::new(url).expect("a client");
    let long = Query { deadline_ms: Some(60_000.0), ..silent() };

    let mut events = pool.stream(long.clone());
    let first = events.next().await.expect("an item").expect("an event");
    assert!(matches!(first, Event::Start { .. }));
    in_flight(http, 1).await;
    drop(events);
    in_flight(http, 0).await;

    let call = tokio::time::timeout(Duration::from_millis(300), pool.infer(long));
    assert!(call.await.is_err());
    in_flight(http, 0).await;
}

/// Waits until the daemon at *url* works on as many requests as that.
async fn in_flight(url: &str, wanted: u64) {
    let began = Instant::now();
    loop {
        let command = Command::new("curl").args(["-s", &format!("{url}/health")]).output().expect("curl");
        let health: serde_json::Value = serde_json::from_slice(&command.stdout).expect("health");
        if health["in_flight"] == wanted {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{health}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn who_we_are(url: &str, daemons: &Daemons) {
    let client = |credentials| Client::builder(url).credentials(credentials).build().expect("a client");
    let secret = daemons.word("secret");
    for credentials in
        [Credentials::hmac("acme", secret), Credentials::bearer(secret), Credentials::bearer(daemons.word("jwt"))]
    {
        let pool = client(credentials);
        assert!(pool.infer(timed("hello", 10_000.0)).await.expect("an answer").content.contains("hello"));
        let events: Result<Vec<_>, Error> = pool.stream("hello again").try_collect().await;
        assert!(matches!(events.expect("events").last(), Some(Event::Answer(_))));
    }
    for credentials in [Credentials::hmac("acme", "x".repeat(40)), Credentials::bearer("nonsense")] {
        let error = client(credentials).infer("hello").await.expect_err("nobody knows them");
        assert_eq!(*error.code(), Code::Unauthenticated);
    }
}

async fn rates(url: &str, daemons: &Daemons) {
    let credentials = Credentials::hmac("limited", daemons.word("limited"));
    let budget = Arc::new(Budget::new(1.0, 9.0));
    let pool = Client::builder(url).credentials(credentials).budget(budget).build().expect("a client");

    pool.infer(timed("one", 10_000.0)).await.expect("an answer");
    let again = pool.infer(timed("two", 10_000.0)).await.expect("an answer, a little later");
    let late = pool.infer(timed("three", 100.0)).await.expect_err("there is no time to wait");

    assert!(again.content.contains("two"));
    assert_eq!(*late.code(), Code::RateLimited);
}

/// One test, as the daemons take seconds to start; a name in a panic says where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_daemon() {
    let daemons = Daemons::start();
    for scheme in SCHEMES {
        let (open, closed) = (daemons.url("open", scheme), daemons.url("closed", scheme));
        the_calls(open).await;
        errors(open).await;
        deadlines(open).await;
        leaving(open, daemons.url("open", "http")).await;
        who_we_are(closed, &daemons).await;
        rates(closed, &daemons).await;
    }
    five_calls(daemons.url("open", "http"));
    #[cfg(feature = "blocking")]
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| scope.spawn(|| blocking(&daemons)).join().expect("no panic"));
    });
}

/// The program in docs/sdk.md, as cargo built it beside this test.
fn five_calls(url: &str) {
    let built = std::env::current_exe().expect("this test").with_file_name("");
    let program = built.join("../examples/five_calls");
    let done = Command::new(program).env("LLM_POOL_URL", url).output().expect("the example, which `cargo test` builds");
    let said = String::from_utf8(done.stdout).expect("text");
    for words in ["true", "heard: Is 17 prime?", "heard: Tell me of the sea.", "heard: What is my name?"] {
        assert!(said.contains(words), "{said}");
    }
}

#[cfg(feature = "blocking")]
fn blocking(daemons: &Daemons) {
    let client = Client::new(daemons.url("open", "http")).expect("a client");
    let pool = llm_pool::blocking::Client::new(client).expect("a runtime");

    assert!(pool.infer("Is 17 prime?").expect("an answer").content.contains("Is 17 prime?"));
    assert!(matches!(pool.stream("Tell me of the sky.").last(), Some(Ok(Event::Answer(_)))));
    assert!(pool.chat(&[Message::user("hello")], Query::default()).is_ok());
    assert!(pool.feedback("nobody-asked-this", true).is_err());
    assert!(pool.health().expect("health").healthy);
}

#[tokio::test]
async fn nobody_there() {
    for scheme in SCHEMES {
        let pool = Client::builder(&format!("{scheme}://127.0.0.1:9")).retries(0).build().expect("a client");

        let error = pool.infer("x").await.expect_err("nobody listens");

        assert_eq!(*error.code(), Code::Unreachable, "{error}");
        assert!(error.hint().contains("llm-pool serve"));
    }
}

#[test]
fn an_address_of_another_shape_is_refused() {
    for url in ["ftp://x", "127.0.0.1:7071", "http://", "http://me:pw@host", ""] {
        let error = Client::new(url).expect_err(url);
        assert_eq!((error.code(), error.field()), (&Code::InvalidRequest, Some("url")), "{url}");
    }
}

#[test]
fn secrets_are_not_shown() {
    for credentials in [Credentials::hmac("acme", "s3cret"), Credentials::bearer("s3cret")] {
        assert!(!format!("{:?}", Client::builder("http://x").credentials(credentials)).contains("s3cret"));
    }
}
