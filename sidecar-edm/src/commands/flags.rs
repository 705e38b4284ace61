//! Flags as Go's package `flag` reads them: `-x` and `--x` are the same; `--x=v` or `--x v`, a switch `--x` or `--x=false` only; the first
//! argument that is none ends them, and so does `--`.

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// A value behind an equals sign, or none.
    Switch,
    /// A value behind an equals sign, or the next argument.
    Value,
}

/// The flags at the beginning of some arguments. `help`, `h` and `version` are there always; who does not know them refuses them.
pub(super) struct Flags<'a, K> {
    arguments: &'a [String],
    known: K,
    ended: bool,
}

impl<'a, K: Fn(&str) -> Option<Flag>> Flags<'a, K> {
    /// `known` tells what a flag takes, if there is such a flag.
    pub(super) const fn new(arguments: &'a [String], known: K) -> Self {
        Self { arguments, known, ended: false }
    }

    /// What follows the flags.
    pub(super) const fn rest(&self) -> &'a [String] {
        self.arguments
    }

    fn flag(&mut self, argument: &'a str) -> Result<(&'a str, String), String> {
        let body = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).unwrap_or_default();
        let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
        if name.is_empty() || name.starts_with('-') {
            return Err(format!("bad flag syntax: {argument}"));
        }
        let usual = ["help", "h", "version"].contains(&name).then_some(Flag::Switch);
        let flag = (self.known)(name).or(usual).ok_or_else(|| format!("flag --{name} is not known"))?;
        let value = match (flag, value, self.arguments) {
            (_, Some(value), _) => value,
            (Flag::Switch, None, _) => "true",
            (Flag::Value, None, [next, rest @ ..]) => {
                self.arguments = rest;
                next
            }
            (Flag::Value, None, []) => return Err(format!("flag --{name} needs a value")),
        };
        Ok((name, value.to_owned()))
    }
}

impl<'a, K: Fn(&str) -> Option<Flag>> Iterator for Flags<'a, K> {
    type Item = Result<(&'a str, String), String>;

    fn next(&mut self) -> Option<Self::Item> {
        let [argument, rest @ ..] = self.arguments else { return None };
        if self.ended || argument == "-" || !argument.starts_with('-') {
            return None;
        }
        self.arguments = rest;
        if argument == "--" {
            self.ended = true;
            return None;
        }
        Some(self.flag(argument))
    }
}
