//! A small client of Redis that does nothing but write and read: for commands that look at the
//! server, and for pipelines of scripts.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
};

/// A connection.
pub(crate) struct Talk(BufReader<TcpStream>);

/// A command as it goes over the wire.
pub(crate) fn encode(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Talk {
    pub(crate) fn to(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a Redis");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::with_capacity(256 * 1024, stream))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("Redis reads");
    }

    /// Reads one answer and lays what it holds end to end.
    pub(crate) fn answer(&mut self) -> Vec<u8> {
        let mut flat = Vec::new();
        self.read(&mut flat);
        flat
    }

    /// Reads one line without its end.
    pub(crate) fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).expect("Redis answers");
        line.truncate(line.len().saturating_sub(2));
        line
    }

    /// Does a command.
    pub(crate) fn text(&mut self, words: &[&str]) -> String {
        self.send(&encode(words));
        String::from_utf8_lossy(&self.answer()).into_owned()
    }

    fn read(&mut self, into: &mut Vec<u8>) {
        let line = self.line();
        let number = || {
            let digits = std::str::from_utf8(&line[1..]).ok();
            digits.and_then(|digits| digits.parse::<i64>().ok()).unwrap_or(-1)
        };
        match line.first() {
            Some(b'$') => {
                let Ok(len) = usize::try_from(number()) else { return };
                let start = into.len();
                into.resize(start + len + 2, 0);
                self.0.read_exact(&mut into[start..]).expect("Redis answers");
                into.truncate(start + len);
            }
            Some(b'*') => (0..number()).for_each(|_| self.read(into)),
            Some(b'-') => panic!("Redis: {}", String::from_utf8_lossy(&line)),
            _ => into.extend_from_slice(&line[1..]),
        }
    }
}
