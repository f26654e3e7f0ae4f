//! The answer's own text among the events.

use futures_util::stream::{BoxStream, Stream};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::error::{Code, Error};
use crate::event::Event;

/// The answer's own text among *events*, piece by piece as it is written; in one piece where a panel had to decide first, or
/// where it was known already. Together the pieces are the answer's `content`.
///
/// The last item is a [`Code::AllProvidersFailed`] where what was told is not how the answer begins.
///
/// ```no_run
/// use futures_util::TryStreamExt as _;
/// use llm_pool::{Client, text_of};
///
/// # async fn example(pool: Client) -> Result<(), llm_pool::Error> {
/// let mut pieces = text_of(pool.stream("Tell me of the sea."));
/// while let Some(piece) = pieces.try_next().await? {
///     print!("{piece}");
/// }
/// # Ok(())
/// # }
/// ```
pub fn text_of<'a>(
    events: impl Stream<Item = Result<Event, Error>> + Send + 'a,
) -> BoxStream<'a, Result<String, Error>> {
    let mut text = Text::default();
    let pieces = events.and_then(move |event| std::future::ready(text.piece(event)));
    pieces.try_filter(|piece| std::future::ready(!piece.is_empty())).boxed()
}

#[derive(Default)]
struct Text {
    owner: Option<String>,
    told: String,
}

impl Text {
    /// What *event* adds to the answer; empty where it adds nothing.
    fn piece(&mut self, event: Event) -> Result<String, Error> {
        match event {
            Event::Delta { provider, text, is_final: true } => Ok(self.delta(&provider, &text)),
            Event::Answer(answer) if self.told.is_empty() => Ok(answer.content),
            Event::Answer(answer) if self.told.trim_end() != answer.content => {
                Err(Error::new(Code::AllProvidersFailed, "the answer does not begin with what was told of it"))
            }
            _ => Ok(String::new()),
        }
    }

    fn delta(&mut self, provider: &str, text: &str) -> String {
        if self.owner.get_or_insert_with(|| provider.to_owned()) != provider {
            return String::new();
        }
        let piece = if self.told.is_empty() { text.trim_start() } else { text }; // as answers that come in one piece
        self.told.push_str(piece);
        piece.to_owned()
    }
}
