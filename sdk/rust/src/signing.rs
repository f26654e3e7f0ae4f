//! Signed requests, as docs/security.md has them.

use std::fmt;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::error::{Code, Error};

/// The headers in the text that is signed, in its order, and what each may be. One that is absent counts as empty.
const SIGNED_HEADERS: [(&str, Shape); 7] = [
    ("content-type", Shape(b' ', 0, 200)),
    ("x-api-key", Shape(b'w', 1, 64)),
    ("x-timestamp", Shape(b'0', 10, 10)),
    ("x-nonce", Shape(b'w', 22, 64)),
    ("idempotency-key", Shape(b'!', 0, 200)),
    ("x-tenant", Shape(b'!', 0, 200)),
    ("x-deadline-ms", Shape(b'0', 0, 9)),
];

/// Which letters (` ` printable, `!` visible, `w` of an id, `0` digits, `A` capitals), how many at least and at most.
#[derive(Clone, Copy)]
struct Shape(u8, usize, usize);

impl Shape {
    fn fits(self, text: &str) -> bool {
        let Self(kind, least, most) = self;
        let is_good = |byte: u8| match kind {
            b' ' => byte == b' ' || byte.is_ascii_graphic(),
            b'!' => byte.is_ascii_graphic(),
            b'w' => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            b'0' => byte.is_ascii_digit(),
            _ => byte.is_ascii_uppercase(),
        };
        (least..=most).contains(&text.len()) && text.bytes().all(is_good)
    }
}

/// A request as it goes over the wire: nothing is decoded, ordered or written anew.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// In capitals; `GRPC` over gRPC.
    pub method: &'a str,
    /// The path; `/package.Service/Method` over gRPC.
    pub path: &'a str,
    /// Without the question mark.
    pub query: &'a str,
    /// Those that are sent besides.
    pub headers: &'a [(&'a str, &'a str)],
    /// The bytes of the body.
    pub body: &'a [u8],
}

/// A key of `llm-pool keys create`, which signs each request; its secret never travels.
#[derive(Clone)]
pub struct Key {
    /// The key's id.
    pub key: String,
    /// Its secret.
    pub secret: String,
    /// The server's `security.audience`.
    pub audience: String,
}

impl Key {
    /// The headers that prove *request*.
    ///
    /// *wall* is in seconds since 1970; *nonce* is unique among the key's requests: 22 to 64 letters, digits, `-`, `_`.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidRequest`]: a part cannot be signed.
    pub fn sign(&self, request: Unsigned<'_>, wall: f64, nonce: &str) -> Result<Vec<(&'static str, String)>, Error> {
        let timestamp = format!("{wall:010.0}");
        let own = [("x-api-key", self.key.as_str()), ("x-timestamp", &timestamp), ("x-nonce", nonce)];
        let headers: Vec<_> = request.headers.iter().copied().chain(own).collect();
        let text = self.canonical(Unsigned { headers: &headers, ..request })?;
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes())
            .map_err(|error| Error::invalid("secret", "it cannot sign").because(error))?;
        mac.update(text.as_bytes());
        let mut signed: Vec<_> = own.map(|(name, value)| (name, value.to_owned())).into();
        signed.push(("x-signature", hex(&mac.finalize().into_bytes())));
        Ok(signed)
    }

    /// The text that is signed.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidRequest`]: a part cannot be signed.
    pub fn canonical(&self, request: Unsigned<'_>) -> Result<String, Error> {
        check("audience", &self.audience, !self.audience.contains('\n'))?;
        check("method", request.method, Shape(b'A', 1, 16).fits(request.method))?;
        let is_path = request.path.starts_with('/') && Shape(b'!', 1, 2001).fits(request.path);
        check("path", request.path, is_path)?;
        check("query", request.query, Shape(b'!', 0, 8000).fits(request.query))?;
        let mut lines = vec!["LPOOL-HMAC-SHA256-V1", &self.audience, request.method, request.path, request.query];
        for (name, shape) in SIGNED_HEADERS {
            let sent = request.headers.iter().rev().find(|(sent, _)| sent.eq_ignore_ascii_case(name));
            let value = sent.map_or("", |(_, value)| value);
            check(name, value, shape.fits(value))?;
            lines.push(value);
        }
        let body = hex(&Sha256::digest(request.body));
        lines.push(&body);
        Ok(lines.join("\n"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").field("key", &self.key).finish_non_exhaustive()
    }
}

/// 24 random bytes in hex: a nonce, or the id of a request.
pub(crate) fn random_id() -> Result<String, Error> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| Error::new(Code::Other("no_entropy".to_owned()), error.to_string()))?;
    Ok(hex(&bytes))
}

fn check(name: &str, value: &str, is_good: bool) -> Result<(), Error> {
    if is_good { Ok(()) } else { Err(Error::invalid(name, &format!("{value:?} cannot be signed"))) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing into a String cannot fail
        text
    })
}
