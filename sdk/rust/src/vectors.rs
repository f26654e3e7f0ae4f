//! The vectors that every SDK passes: sdk/vectors, made by the Python client.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::budget::Budget;
use crate::deadline::{self, GRACE};
use crate::retry::{INITIAL_BACKOFF, MAX_WAIT, Retry};
use crate::{Answer, Client, Code, Credentials, Error, Event, Health, Key, Message, Query, Unsigned, text_of};

fn vectors(name: &str) -> Value {
    let path = format!("{}/../vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// Each vector of a file, with its name for the messages of assertions.
fn named(vectors: &Value) -> impl Iterator<Item = (&str, &Value)> {
    vectors.as_array().expect("a list").iter().map(|vector| (text(vector, "name"), vector))
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_default()
}

fn span(value: &Value) -> Option<Duration> {
    value.as_f64().map(|ms| Duration::from_secs_f64(ms / 1000.0))
}

fn pairs(headers: &Value) -> Vec<(&str, &str)> {
    let headers = headers.as_object().expect("an object");
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("a text"))).collect()
}

#[test]
fn signatures() {
    for (name, vector) in named(&vectors("signatures")) {
        let field = |field: &str| text(vector, field).to_owned();
        let key = Key { key: field("key"), secret: field("secret"), audience: field("audience") };
        let headers = pairs(&vector["headers"]);
        let (method, path, query, body) = (field("method"), field("path"), field("query"), field("body"));
        let request =
            Unsigned { method: &method, path: &path, query: &query, headers: &headers, body: body.as_bytes() };

        let signed = key.sign(request, vector["wall"].as_f64().expect("seconds"), text(vector, "nonce"));

        if vector["refused"] == true {
            assert_eq!(*signed.expect_err(name).code(), Code::InvalidRequest, "{name}");
            continue;
        }
        let signed = signed.expect(name);
        let added: Map<_, _> = signed.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        assert_eq!(Value::Object(added), vector["added"], "{name}");
        let signed = signed.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = headers.iter().copied().chain(signed).collect();
        let canonical = key.canonical(Unsigned { headers: &headers, ..request }).expect(name);
        assert_eq!(canonical, text(vector, "canonical"), "{name}");
    }
}

#[test]
fn retries() {
    let vectors = vectors("retries");
    assert_eq!(Some(INITIAL_BACKOFF), span(&vectors["initial_backoff_ms"]));
    assert_eq!(Some(MAX_WAIT), span(&vectors["max_wait_ms"]));
    for (name, vector) in named(&vectors["queries"]) {
        let budget = Arc::new(budget(&vector["budget"]));
        budget.note_request(Duration::ZERO);
        let retries = u32::try_from(vector["retries"].as_u64().expect("a number")).expect("a small one");
        let mut retry = Retry::new(retries, budget, span(&vector["deadline_ms"]));
        for failure in vector["failures"].as_array().expect("a list") {
            let error = Error::in_body(&json!({"error": {
                "code": failure["error"]["code"], "message": "no", "retry_after_ms": failure["error"]["retry_after_ms"],
            }}));
            let now = span(&failure["at_ms"]).expect("an instant");
            let draw = failure["draw"].as_f64().expect("a number");

            let wait = retry.wait(&error.expect(name), now, draw);

            assert_eq!(wait, span(&failure["wait_ms"]), "{name}");
        }
    }
}

#[test]
fn budgets() {
    for (name, vector) in named(&vectors("retries")["budgets"]) {
        let budget = budget(&vector["budget"]);
        for step in vector["steps"].as_array().expect("a list") {
            let now = span(&step["at_ms"]).expect("an instant");
            if step["does"] == "request" {
                budget.note_request(now);
            } else {
                assert_eq!(json!(budget.spend(now)), step["paid"], "{name}");
            }
        }
    }
}

fn budget(vector: &Value) -> Budget {
    Budget::new(vector["ratio"].as_f64().expect("a number"), vector["floor"].as_f64().expect("a number"))
}

#[test]
fn deadlines() {
    let vectors = vectors("deadlines");
    assert_eq!(Some(GRACE), span(&vectors["grace_ms"]));
    for vector in vectors["sent"].as_array().expect("a list") {
        let remaining = span(&vector["remaining_ms"]).expect("a span");
        assert_eq!(deadline::header(remaining), text(vector, "x_deadline_ms"));
    }
    let over = deadline::remaining(Duration::ZERO, Duration::from_secs(1), Duration::ZERO);
    assert_eq!(over.expect_err("nothing is left").code().as_str(), vectors["over"]["code"]);
}

#[tokio::test]
async fn requests() {
    for (name, vector) in named(&vectors("requests")) {
        let messages: Vec<Message> = serde_json::from_value(vector["messages"].clone()).unwrap_or_default();
        if let Some(field) = vector["refused"].as_str() {
            let error = Query::default().about(&messages).expect_err(name);
            assert_eq!((error.code(), error.field()), (&Code::InvalidRequest, Some(field)), "{name}");
            continue;
        }
        let query: Query = serde_json::from_value(vector["query"].clone()).unwrap_or_default();
        let told = &vector["response"];
        let wanted: Value = serde_json::from_str(text(told, "body")).expect(name);
        let asked = replaying(told, &[text(told, "body").as_bytes()], async |url| {
            let mut builder = Client::builder(&format!("{url}{}", text(vector, "url"))).retries(0);
            if let Some(token) = vector["token"].as_str() {
                builder = builder.credentials(Credentials::bearer(token));
            }
            let client = builder.build().expect(name);
            match text(vector, "call") {
                "infer" => assert_answer(&client.infer(query).await.expect(name), &wanted),
                "chat" => assert_answer(&client.chat(&messages, query).await.expect(name), &wanted),
                _ => assert_health(&client.health().await.expect(name), &wanted),
            }
        })
        .await;
        compare(name, &asked, &vector["request"]);
    }
}

fn assert_answer(answer: &Answer, wanted: &Value) {
    assert_eq!(serde_json::to_value(answer).expect("JSON"), *wanted);
}

/// Our types leave some of it out, for what gRPC does not say.
fn assert_health(health: &Health, wanted: &Value) {
    for (name, value) in serde_json::to_value(health).expect("JSON").as_object().expect("an object") {
        assert_eq!(*value, wanted[name]);
    }
}

#[tokio::test]
async fn errors() {
    for (name, vector) in named(&vectors("errors")) {
        let (told, wanted) = (&vector["response"], &vector["error"]);
        replaying(told, &[text(told, "body").as_bytes()], async |url| {
            let client = Client::builder(&url).retries(0).build().expect(name);

            let error = client.infer("hello").await.expect_err(name);

            assert_eq!(error.code().as_str(), text(wanted, "code"), "{name}");
            assert_eq!(json!(error.is_retryable()), wanted["retryable"], "{name}");
            for words in wanted["mentions"].as_array().into_iter().flatten() {
                assert!(error.to_string().contains(words.as_str().expect("a text")), "{name}: {error}");
            }
            if let Some(message) = wanted["message"].as_str() {
                assert_eq!((error.to_string().as_str(), error.hint()), (message, text(wanted, "hint")), "{name}");
                assert_eq!(json!(error.field()), wanted["field"], "{name}");
                assert_eq!(error.retry_after(), span(&wanted["retry_after_ms"]), "{name}");
                let body: Value = serde_json::from_str(text(told, "body")).expect(name);
                assert_eq!(json!(error.details()), body["error"], "{name}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn streams() {
    for (name, vector) in named(&vectors("streams")) {
        let sent = text(vector, "sent").as_bytes();
        let pieces = cut(sent, vector);
        let told = json!({"status": 200, "headers": {"content-type": "text/event-stream"}});
        replaying(&told, &pieces, async |url| {
            let client = Client::builder(&url).retries(0).build().expect(name);
            let mut stream = client.stream("hello");
            let (mut events, mut end) = (Vec::new(), "nothing".to_owned());
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => {
                        end = if matches!(event, Event::Answer(_)) { "answer".to_owned() } else { end };
                        events.push(event);
                    }
                    Err(error) => error.code().as_str().clone_into(&mut end),
                }
            }

            let found: Vec<_> = events.iter().map(|event| serde_json::to_value(event).expect(name)).collect();
            let wanted: Vec<_> = vector["events"].as_array().expect("a list").iter().map(without_marks).collect();
            assert_eq!(found.iter().map(without_marks).collect::<Vec<_>>(), wanted, "{name}");
            assert_eq!(end, text(vector, "end"), "{name}");
            let pieces = text_of(stream::iter(events.into_iter().map(Ok))).try_collect::<Vec<_>>().await;
            assert_eq!(json!(pieces.expect(name)), vector["text"], "{name}");
        })
        .await;
    }
}

/// An event without what says nothing more than its type: `v`, and `final` of candidates and answers.
fn without_marks(event: &Value) -> Value {
    let mut event = event.as_object().expect("an object").clone();
    event.remove("v");
    if event["type"] == "candidate" || event["type"] == "answer" {
        event.remove("final");
    }
    Value::Object(event)
}

fn cut<'a>(sent: &'a [u8], vector: &Value) -> Vec<&'a [u8]> {
    let size = |value: &Value| usize::try_from(value.as_u64().expect("a number")).expect("a small one");
    if size(&vector["piece"]) > 0 {
        return sent.chunks(size(&vector["piece"])).collect();
    }
    let cuts = vector["cuts"].as_array().expect("a list").iter().map(size);
    let ends: Vec<_> = cuts.chain([sent.len()]).collect();
    let begins = [0].into_iter().chain(ends.clone());
    begins.zip(&ends).map(|(begin, end)| &sent[begin..*end]).collect()
}

#[tokio::test]
async fn feedback() {
    for (name, vector) in named(&vectors("feedback")) {
        let told = &vector["response"];
        let asked = replaying(told, &[text(told, "body").as_bytes()], async |url| {
            let client = Client::new(&url).expect(name);

            let said = client.feedback(text(vector, "request_id"), vector["good"] == true).await;

            match said {
                Ok(learned) => assert_eq!(json!(learned), vector["learned"], "{name}"),
                Err(error) => assert_eq!(error.code().as_str(), text(vector, "error"), "{name}"),
            }
        })
        .await;
        compare(name, &asked, &vector["request"]);
    }
}

/// One request; header names in small letters.
struct Asked {
    method: String,
    path: String,
    headers: Map<String, Value>,
    body: Vec<u8>,
}

fn compare(name: &str, asked: &Asked, wanted: &Value) {
    assert_eq!((asked.method.as_str(), asked.path.as_str()), (text(wanted, "method"), text(wanted, "path")), "{name}");
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    assert_eq!(floats(&body), floats(&wanted["body"]), "{name}");
    for (header, value) in wanted["headers"].as_object().into_iter().flatten() {
        if header == "x-deadline-ms" {
            let sent = |value: &Value| value.as_str().and_then(|text| text.parse::<i64>().ok()).expect(name);
            let late = sent(value) - sent(&asked.headers[header]); // what is left is a little less by now
            assert!((0..1000).contains(&late), "{name}: {late}");
        } else {
            assert_eq!(asked.headers[header], *value, "{name}");
        }
    }
}

/// *value* with numbers as JSON compares them: 3000 is 3000.0.
fn floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(floats).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), floats(value))).collect())
        }
        other => other.clone(),
    }
}

/// What a server was asked that answers with *told* and *pieces*, each written by itself, while *call* calls it.
async fn replaying<F: Future<Output = ()>>(told: &Value, pieces: &[&[u8]], call: impl FnOnce(String) -> F) -> Asked {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut head = vec![format!("HTTP/1.1 {} Told", told["status"]), "connection: close".to_owned()];
    head.extend(pairs(&told["headers"]).iter().map(|(name, value)| format!("{name}: {value}")));
    let head = head.join("\r\n") + "\r\n\r\n";
    let serve = async {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let asked = received(&mut socket).await;
        socket.set_nodelay(true).expect("a socket");
        for piece in std::iter::once(head.as_bytes()).chain(pieces.iter().copied()) {
            if socket.write_all(piece).await.is_err() {
                break; // it has heard enough
            }
            tokio::task::yield_now().await;
        }
        asked
    };
    let (asked, ()) = tokio::join!(serve, call(url));
    asked
}

async fn received(socket: &mut TcpStream) -> Asked {
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line).await.expect("a line");
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Map::new();
    loop {
        line.clear();
        reader.read_line(&mut line).await.expect("a line");
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), json!(value));
    }
    let length = headers.get("content-length").and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.expect("a body");
    Asked { method, path, headers, body }
}
