//! Words of a fixed list on the command line, whatever case and hyphens they are written with.

use std::ffi::OsStr;

use clap::{
    Arg, Command, Error,
    builder::{PossibleValue, TypedValueParser},
};
use greentune_core_config::choice;

/// A parser of listed words that also takes what can only mean one of them.
#[derive(Clone, Debug)]
pub struct AnyCase<P>(pub P);

impl<P: TypedValueParser> TypedValueParser for AnyCase<P> {
    type Value = P::Value;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<P::Value, Error> {
        let words: Vec<_> = self.0.possible_values().into_iter().flatten().collect();
        let meant =
            value.to_str().and_then(|text| choice::meant(words.iter().map(PossibleValue::get_name), text));
        self.0.parse_ref(command, arg, meant.map_or(value, OsStr::new))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

#[cfg(test)]
mod tests {
    use clap::builder::PossibleValuesParser;

    use super::*;

    #[test]
    fn what_can_only_mean_one_word_is_that_word() {
        let parser = AnyCase(PossibleValuesParser::new(["one_cycle", "constant"]));
        let parse = |text: &str| parser.parse_ref(&Command::new("x"), None, OsStr::new(text)).ok();
        assert_eq!(parse("One-Cycle").as_deref(), Some("one_cycle"));
        assert_eq!(parse("CONSTANT").as_deref(), Some("constant"));
        assert_eq!(parse("cosine"), None);
    }
}
