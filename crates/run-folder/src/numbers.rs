//! The numbers of events, which rise line by line.

/// Which events of a log are new. An event with a number below those before it is none; but where a number that was too large
/// (a damaged digit) stands before it, those behind are read all the same.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    next: u64,
    /// The number that was expected where a larger one stood.
    jumped_from: Option<u64>,
}

/// What a number says of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbered {
    /// It is the next event.
    New,
    /// It is the next event, and an earlier one has a damaged number.
    NewBehindDamage,
    /// It is no event: its number has been there, or none could follow.
    Void,
}

impl Numbers {
    /// The least number that the next event can have.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Notes the number `seq` of the next line.
    pub(crate) fn take(&mut self, seq: u64) -> Numbered {
        if seq == u64::MAX {
            return Numbered::Void;
        }
        if seq >= self.next {
            if seq > self.next {
                self.jumped_from.get_or_insert(self.next);
            }
            self.next = seq + 1;
            return Numbered::New;
        }
        match self.jumped_from.take_if(|from| seq >= *from) {
            Some(_) => {
                self.next = seq + 1;
                Numbered::NewBehindDamage
            }
            None => Numbered::Void,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Numbered::*, *};

    fn taken(numbers: &[u64]) -> Vec<Numbered> {
        let mut state = Numbers::default();
        numbers.iter().map(|seq| state.take(*seq)).collect()
    }

    #[test]
    fn a_number_that_has_been_there_is_void_and_one_that_was_skipped_is_not() {
        assert_eq!(taken(&[0, 1, 1, 0, 2]), [New, New, Void, Void, New]);
        assert_eq!(taken(&[0, 2, 3]), [New, New, New]);
        assert_eq!(taken(&[0, u64::MAX, 1]), [New, Void, New]);
    }

    #[test]
    fn a_number_that_is_too_large_hides_none_behind_it() {
        assert_eq!(taken(&[0, 1, 900, 3, 4]), [New, New, New, NewBehindDamage, New]);
        assert_eq!(taken(&[0, 900, 901, 3, 4]), [New, New, New, NewBehindDamage, New]);
        assert_eq!(taken(&[0, 900, 9000, 3, 77, 5]), [New, New, New, NewBehindDamage, New, NewBehindDamage]);
    }
}
