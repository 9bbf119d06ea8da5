//! Redis's protocol: commands as bytes, and bytes as answers.
//!
//! Answers of scripts are lists of bytes and numbers, and are read here; whatever else there is in
//! the protocol is found here and read by the driver's own parser.

use redis::{RedisResult, Value};

/// How deep an answer may be nested.
const MAX_DEPTH: usize = 16;
/// The longest line that is not a text of its own: a length, a number, an error.
const MAX_LINE: usize = 64 * 1024;

/// That what came is not the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

/// Begins a command of so many words.
pub(super) fn command(into: &mut Vec<u8>, words: usize) {
    header(into, b'*', words);
}

/// Adds a word of a command.
pub(super) fn word(into: &mut Vec<u8>, word: impl AsRef<[u8]>) {
    let word = word.as_ref();
    header(into, b'$', word.len());
    into.extend_from_slice(word);
    into.extend_from_slice(b"\r\n");
}

/// A number as the text of a word.
pub(super) fn number(into: &mut Vec<u8>, number: usize) {
    let digits = decimal(number);
    word(into, digits.as_slice());
}

fn header(into: &mut Vec<u8>, kind: u8, number: usize) {
    into.push(kind);
    into.extend_from_slice(decimal(number).as_slice());
    into.extend_from_slice(b"\r\n");
}

/// A number in decimal digits, without an allocation.
struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    fn as_slice(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

fn decimal(mut number: usize) -> Decimal {
    let mut decimal = Decimal { digits: [b'0'; 20], start: 20 };
    loop {
        decimal.start -= 1;
        // Less than ten.
        decimal.digits[decimal.start] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            return decimal;
        }
    }
}

/// How long the answer is that the bytes begin with; nothing while some of it is missing.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Garbled> {
    let mut rest = Rest { bytes, at: 0 };
    Ok(rest.skip(0)?.map(|()| rest.at))
}

/// Reads one answer, which must be all there.
pub(super) fn read(answer: &[u8]) -> RedisResult<Value> {
    let mut rest = Rest { bytes: answer, at: 0 };
    match rest.value() {
        Some(value) => Ok(value),
        None => redis::parse_redis_value(answer)?.extract_error(),
    }
}

/// Bytes, and how far they are read.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    /// The next line without its end; nothing while it is missing.
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\r')?;
        if rest.get(end + 1)? != &b'\n' {
            return None;
        }
        self.at += end + 2;
        Some(&rest[..end])
    }

    /// Passes over one answer; nothing while some of it is missing.
    fn skip(&mut self, depth: usize) -> Result<Option<()>, Garbled> {
        let rest = self.bytes.len() - self.at;
        let Some(line) = self.line() else {
            return if rest > MAX_LINE { Err(Garbled) } else { Ok(None) };
        };
        let (Some(kind), true) = (line.first(), depth < MAX_DEPTH) else { return Err(Garbled) };
        let parts = match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => return Ok(Some(())),
            b'$' | b'!' | b'=' => {
                let Some(len) = count(line)? else { return Ok(Some(())) };
                let end = self.at.checked_add(len + 2).ok_or(Garbled)?;
                if end > self.bytes.len() {
                    return Ok(None);
                }
                self.at = end;
                return Ok(Some(()));
            }
            b'*' | b'~' | b'>' => count(line)?.unwrap_or(0),
            // Pairs; and what is told about an answer, and then the answer.
            b'%' => count(line)?.unwrap_or(0) * 2,
            b'|' => count(line)?.unwrap_or(0) * 2 + 1,
            _ => return Err(Garbled),
        };
        for _ in 0..parts {
            if self.skip(depth + 1)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// Reads an answer of the kinds that scripts give; nothing when it is of another.
    fn value(&mut self) -> Option<Value> {
        let line = self.line()?;
        let digits = std::str::from_utf8(line.get(1..)?).ok()?;
        match line.first()? {
            b':' => Some(Value::Int(digits.parse().ok()?)),
            b'_' => Some(Value::Nil),
            b'$' => {
                let Ok(len) = usize::try_from(digits.parse::<i64>().ok()?) else {
                    return Some(Value::Nil);
                };
                let bytes = self.bytes.get(self.at..self.at + len)?;
                self.at += len + 2;
                Some(Value::BulkString(bytes.to_vec()))
            }
            b'*' => {
                let Ok(parts) = digits.parse::<usize>() else { return Some(Value::Nil) };
                // No more than there can be: each part has at least three bytes.
                let mut values = Vec::with_capacity(parts.min(self.bytes.len() / 3));
                for _ in 0..parts {
                    values.push(self.value()?);
                }
                Some(Value::Array(values))
            }
            _ => None,
        }
    }
}

/// The number in a line after its kind; nothing when it is negative, which means that there is no
/// such thing.
fn count(line: &[u8]) -> Result<Option<usize>, Garbled> {
    let digits = std::str::from_utf8(&line[1..]).map_err(|_| Garbled)?;
    let number: i64 = digits.parse().map_err(|_| Garbled)?;
    // What does not fit into half the memory's addresses is no length.
    if number > i64::from(i32::MAX) {
        return Err(Garbled);
    }
    Ok(usize::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn a_command_is_words_with_their_lengths() {
        let mut bytes = Vec::new();
        command(&mut bytes, 3);
        word(&mut bytes, "EVALSHA");
        word(&mut bytes, [0, 255]);
        number(&mut bytes, 1_234_567_890);
        let wanted = b"*3\r\n$7\r\nEVALSHA\r\n$2\r\n\x00\xff\r\n$10\r\n1234567890\r\n";
        assert_eq!(bytes, wanted);
        assert_eq!(decimal(0).as_slice(), b"0");
        assert_eq!(decimal(usize::MAX).as_slice(), usize::MAX.to_string().as_bytes());
    }

    #[test]
    fn what_scripts_answer_is_read() {
        for (bytes, wanted) in [
            ("$2\r\nok\r\n", bulk("ok")),
            ("$0\r\n\r\n", bulk("")),
            ("$4\r\na\r\nb\r\n", bulk("a\r\nb")),
            ("$-1\r\n", Value::Nil),
            ("*-1\r\n", Value::Nil),
            ("_\r\n", Value::Nil),
            (":-7\r\n", Value::Int(-7)),
            ("*0\r\n", Value::Array(vec![])),
            (
                "*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
                Value::Array(vec![Value::Array(vec![Value::Int(1)]), bulk("x")]),
            ),
        ] {
            assert_eq!(length(bytes.as_bytes()), Ok(Some(bytes.len())), "{bytes:?}");
            assert_eq!(read(bytes.as_bytes()).unwrap(), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn the_rest_of_the_protocol_is_found_and_read_too() {
        for bytes in [
            "+OK\r\n",
            "#t\r\n",
            ",1.5\r\n",
            "%1\r\n+a\r\n:1\r\n",
            "~2\r\n:1\r\n:2\r\n",
            "=5\r\ntxt:x\r\n",
            ">3\r\n+message\r\n$1\r\nc\r\n$1\r\nm\r\n",
            "*1\r\n%1\r\n+a\r\n*1\r\n_\r\n",
        ] {
            assert_eq!(length(bytes.as_bytes()), Ok(Some(bytes.len())), "{bytes:?}");
            let wanted = redis::parse_redis_value(bytes.as_bytes()).unwrap();
            assert_eq!(read(bytes.as_bytes()).unwrap(), wanted, "{bytes:?}");
        }
        let error = read(b"-NOSCRIPT No matching script.\r\n").unwrap_err();
        assert_eq!(error.code(), Some("NOSCRIPT"));
    }

    #[test]
    fn an_answer_in_pieces_is_waited_for() {
        let whole = b"*3\r\n$3\r\nabc\r\n:12\r\n%1\r\n+a\r\n$-1\r\n";
        for end in 0..whole.len() {
            assert_eq!(length(&whole[..end]), Ok(None), "after {end} bytes");
        }
        // What follows is left alone.
        let two = [&whole[..], b":1\r\n"].concat();
        assert_eq!(length(&two), Ok(Some(whole.len())));
    }

    #[test]
    fn nonsense_is_told_at_once() {
        let deep = "*1\r\n".repeat(MAX_DEPTH + 1);
        let long = format!("+{}", "x".repeat(MAX_LINE));
        for bytes in
            ["?\r\n", "\r\n", "$x\r\n", "*99999999999\r\n", "HTTP/1.1 400\r\n", &deep, &long]
        {
            assert_eq!(length(bytes.as_bytes()), Err(Garbled), "{bytes:.20}");
        }
    }
}
