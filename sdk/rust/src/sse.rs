//! Server-sent events out of bytes that were cut anywhere.
//!
//! An event is complete with the empty line after it; what is left at the end of a stream is none.
//!
//! Source: WHATWG HTML, "Server-sent events", 9.2.6.

/// Bytes of one event at most: what a server sends is not kept without end.
const MAX_EVENT: usize = 64 << 20;

/// One event: its name, `message` where it has none, and its data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// An event that grows without end.
#[derive(Debug)]
pub(crate) struct TooLong;

/// Puts events together from pieces.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    line: Vec<u8>,
    name: String,
    data: Vec<String>,
    size: usize,
    after_return: bool,
}

impl Decoder {
    /// The events that *piece* completes.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) -> Result<Vec<ServerEvent>, TooLong> {
        if self.after_return && piece.first() == Some(&b'\n') {
            piece = &piece[1..]; // the second half of a line end
            self.after_return = false;
        }
        let mut events = Vec::new();
        while let Some(at) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.hold(&piece[..at])?;
            events.extend(self.take());
            self.after_return = piece[at] == b'\r' && at + 1 == piece.len();
            let ends_twice = piece[at] == b'\r' && piece.get(at + 1) == Some(&b'\n');
            piece = &piece[at + 1 + usize::from(ends_twice)..];
        }
        if !piece.is_empty() {
            self.after_return = false;
            self.hold(piece)?;
        }
        Ok(events)
    }

    fn hold(&mut self, part: &[u8]) -> Result<(), TooLong> {
        self.size += part.len();
        if self.size > MAX_EVENT {
            return Err(TooLong);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// A line is complete; the event, if it was the empty one.
    fn take(&mut self) -> Option<ServerEvent> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.event();
        }
        let text = String::from_utf8_lossy(&line);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => self.data.push(value.to_owned()),
            _ => {}
        }
        None
    }

    fn event(&mut self) -> Option<ServerEvent> {
        self.size = 0;
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        let name = if name.is_empty() { "message".to_owned() } else { name };
        (!data.is_empty()).then(|| ServerEvent { name, data: data.join("\n") })
    }
}
