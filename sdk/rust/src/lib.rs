#![doc = include_str!("../README.md")]

mod answer;
#[cfg(feature = "blocking")]
pub mod blocking;
mod budget;
mod client;
mod conversation;
mod credentials;
mod deadline;
mod error;
mod event;
#[cfg(feature = "grpc")]
mod grpc;
mod health;
mod http;
mod query;
mod retry;
mod signing;
mod sse;
mod text;
mod transport;
#[cfg(test)]
mod vectors;

pub use answer::{Answer, Attempt, Cluster, Decision, Finish, Outcome, ToolCall, Usage};
pub use budget::Budget;
pub use client::{Builder, Client, Events};
pub use conversation::Message;
pub use credentials::Credentials;
pub use error::{Code, Error};
pub use event::Event;
pub use health::{Health, ProviderState};
pub use query::{Image, Query, Role, Strategy, Think, Tool, Turn};
pub use signing::{Key, Unsigned};
pub use text::text_of;
