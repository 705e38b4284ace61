//! Text of `pop.yaml` to and fro.

use serde::Deserialize;

use super::super::keys::Keys;
use super::super::{ConfigError, Parsed, Place, judge_problems, judge_unknown};
use super::{DoubtRule, PopConfig, Source};

impl PopConfig {
    /// Reads and checks the text of `pop.yaml`.
    ///
    /// In a newer format, sources and rules that this build cannot understand are left out with a warning: a rule that loses one of
    /// its conditions would fire more often than it was meant to.
    pub fn parse(text: &str) -> Result<Parsed<Self>, ConfigError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let keys = Keys::of_yaml(text, &Self::KEYS);
        let unreadable = |error: serde_saphyr::Error| unreadable(&error, &keys);
        let Format { format } = serde_saphyr::from_str(text).map_err(unreadable)?;
        let unknown = keys.unknown(&Self::KEYS);
        let strange = |list: &str, position: usize| {
            let path = format!("{list}[{position}].");
            unknown.iter().any(|key| key.path.starts_with(&path))
        };
        let mut warnings = judge_unknown(unknown.clone(), format, Self::FORMAT)?;
        let mut config: Self = serde_saphyr::from_str(text).map_err(unreadable)?;
        if format > Self::FORMAT {
            config.sources = keep(config.sources, &mut warnings, "source", |position, source| {
                source.kinds() > 0 || !strange("sources", position)
            });
            config.doubt = keep(config.doubt, &mut warnings, "doubt rule", |position, _| !strange("doubt", position));
        }
        judge_problems(config.problems(), &keys)?;
        Ok(Parsed { config, warnings })
    }

    /// Text of `pop.yaml`, in the oldest format that can say all this.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        let written = Self { format: self.needed_format(), ..self.clone() };
        serde_saphyr::to_string(&written).map_err(|error| ConfigError::Unwritable(error.to_string()))
    }
}

/// Leaves out what this build cannot understand, with a warning each.
fn keep<T: Named>(items: Vec<T>, warnings: &mut Vec<String>, what: &str, understood: impl Fn(usize, &T) -> bool) -> Vec<T> {
    let mut kept = Vec::new();
    for (position, item) in items.into_iter().enumerate() {
        if understood(position, &item) {
            kept.push(item);
        } else {
            warnings.push(format!("{what} {:?} is left out: this build does not know all that it says", item.name()));
        }
    }
    kept
}

trait Named {
    fn name(&self) -> &str;
}

impl Named for Source {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for DoubtRule {
    fn name(&self) -> &str {
        &self.name
    }
}

fn unreadable(error: &serde_saphyr::Error, keys: &Keys) -> ConfigError {
    let place = error.location().filter(|location| location.line() > 0).map_or_else(Place::default, |location| {
        let key = keys.at(location.line(), location.column()).map(|key| key.path.clone());
        Place { line: Some(location.line()), key }
    });
    let missing = matches!(error.without_snippet(), serde_saphyr::Error::SerdeMissingField { .. });
    let place = if missing { Place { key: None, ..place } } else { place };
    ConfigError::Unreadable { place, message: message(error) }
}

/// What is wrong, without the place (said elsewhere) and without the text around it (it may be a list).
fn message(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::MessageFormatter as _;

    serde_saphyr::DefaultMessageFormatter.format_message(error.without_snippet()).into_owned()
}
