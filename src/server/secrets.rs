//! The secrets of leases: random bits of the operating system, fetched for many leases at once. One
//! fetch for each lease was more than a quarter of all calls of the system under load.

use std::sync::{Mutex, PoisonError};

use crate::pool::LeaseSecret;

/// The length of a secret, in bytes.
const LEN: usize = 16;
/// How many are fetched at once.
const MANY: usize = 32;

/// Secrets that no lease has yet.
struct Stock {
    left: usize,
    bits: [[u8; LEN]; MANY],
}

static STOCK: Mutex<Stock> = Mutex::new(Stock { left: 0, bits: [[0; LEN]; MANY] });

/// A secret that nothing else has had.
pub(super) fn secret() -> Result<LeaseSecret, getrandom::Error> {
    STOCK.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Stock {
    fn take(&mut self) -> Result<LeaseSecret, getrandom::Error> {
        if self.left == 0 {
            getrandom::fill(self.bits.as_flattened_mut())?;
            self.left = MANY;
        }
        self.left -= 1;
        // What was given away is not kept.
        Ok(LeaseSecret::new(std::mem::take(&mut self.bits[self.left])))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_secret_is_given_twice_or_kept() {
        let mut stock = Stock { left: 0, bits: [[0; LEN]; MANY] };
        let given: HashSet<_> = (0..3 * MANY).map(|_| stock.take().unwrap().to_hex()).collect();
        assert_eq!(given.len(), 3 * MANY);
        assert_eq!(stock.bits, [[0; LEN]; MANY], "what was given away is still there");
        assert_ne!(secret().unwrap().to_hex(), secret().unwrap().to_hex());
    }
}
