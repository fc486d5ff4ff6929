//! What a value must be, and the words for what it is not.

use std::fmt::Display;

use regex::Regex;

use super::format::Format;
use super::scalar::Scalar;

/// The rules of a field, or of the items, keys or values of one.
#[derive(Debug, Default)]
pub(super) struct Constraint {
    pub(super) required: bool,
    pub(super) ignore: Ignore,
    pub(super) check: Option<Check>,
}

impl Constraint {
    /// Whether there is a rule at all.
    pub(super) fn is_stated(&self) -> bool {
        self.required || self.check.is_some()
    }
}

/// When rules do not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ignore {
    /// While an explicit field is absent.
    #[default]
    Absent,
    /// While the value is zero.
    Zero,
    /// Ever.
    Always,
}

/// The rules of one type.
#[derive(Debug)]
pub(super) enum Check {
    Integer(Range<i128>),
    Float { range: Range<f64>, finite: bool },
    Bool(Option<bool>),
    Text(Box<TextRules>),
    Bytes(Length),
    Enum { defined: Option<Vec<i32>>, allowed: Vec<i32>, refused: Vec<i32> },
    List { items: Length, unique: bool, each: Box<Constraint> },
    Map { pairs: Length, keys: Box<Constraint>, values: Box<Constraint> },
}

/// Rules of numbers.
#[derive(Debug)]
pub(super) struct Range<T> {
    pub(super) exactly: Option<T>,
    /// The bound, and whether it is itself allowed.
    pub(super) upper: Option<(T, bool)>,
    pub(super) lower: Option<(T, bool)>,
    pub(super) allowed: Vec<T>,
    pub(super) refused: Vec<T>,
}

/// How much there may be of something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Length {
    pub(super) min: Option<u64>,
    pub(super) max: Option<u64>,
}

/// Rules of strings.
#[derive(Debug, Default)]
pub(super) struct TextRules {
    pub(super) exactly: Option<String>,
    pub(super) characters: Length,
    pub(super) bytes: Length,
    pub(super) pattern: Option<Regex>,
    pub(super) prefix: Option<String>,
    pub(super) suffix: Option<String>,
    pub(super) contains: Option<String>,
    pub(super) not_contains: Option<String>,
    pub(super) allowed: Vec<String>,
    pub(super) refused: Vec<String>,
    pub(super) format: Option<Format>,
}

impl Check {
    /// Says what is wrong with a scalar, piece by piece.
    pub(super) fn scalar(&self, value: &Scalar<'_>, refuse: &mut dyn FnMut(String)) {
        match (self, value) {
            (Self::Integer(range), Scalar::Integer(number)) => range.check(*number, refuse),
            (Self::Float { range, finite }, Scalar::Float(number)) => {
                range.check(*number, refuse);
                if *finite && !number.is_finite() {
                    refuse("must be finite".to_owned());
                }
            }
            (Self::Bool(Some(exactly)), Scalar::Bool(flag)) if exactly != flag => {
                refuse(format!("must be {exactly}"));
            }
            (Self::Text(rules), Scalar::Text(text)) => rules.check(text, refuse),
            (Self::Bytes(length), Scalar::Bytes(bytes)) => {
                length.check(bytes.len(), "be", "bytes long", refuse);
            }
            (Self::Enum { defined, allowed, refused }, Scalar::Integer(number)) => {
                let is = |known: &i32| i128::from(*known) == *number;
                if defined.as_ref().is_some_and(|defined| !defined.iter().any(is)) {
                    refuse("must be one of the defined values".to_owned());
                }
                if !allowed.is_empty() && !allowed.iter().any(is) {
                    refuse(format!("must be one of {}", list(allowed)));
                }
                if refused.iter().any(is) {
                    refuse(format!("must be none of {}", list(refused)));
                }
            }
            _ => {}
        }
    }
}

impl<T: PartialOrd + Copy + Display> Range<T> {
    fn check(&self, value: T, refuse: &mut dyn FnMut(String)) {
        if let Some(exactly) = self.exactly.filter(|exactly| value != *exactly) {
            refuse(format!("must be {exactly}"));
        }
        if !self.is_within(value) {
            refuse(self.bounds());
        }
        if !self.allowed.is_empty() && !self.allowed.contains(&value) {
            refuse(format!("must be one of {}", list(&self.allowed)));
        }
        if self.refused.contains(&value) {
            refuse(format!("must be none of {}", list(&self.refused)));
        }
    }

    fn is_within(&self, value: T) -> bool {
        let below = |(bound, allowed): (T, bool)| value < bound || (allowed && value == bound);
        let above = |(bound, allowed): (T, bool)| value > bound || (allowed && value == bound);
        match (self.lower, self.upper) {
            // A lower bound above the upper one means all that is not between them.
            (Some(lower), Some(upper)) if lower.0 > upper.0 => above(lower) || below(upper),
            (lower, upper) => lower.is_none_or(above) && upper.is_none_or(below),
        }
    }

    fn bounds(&self) -> String {
        let lower = self.lower.map(|(bound, allowed)| match allowed {
            true => format!("at least {bound}"),
            false => format!("greater than {bound}"),
        });
        let upper = self.upper.map(|(bound, allowed)| match allowed {
            true => format!("at most {bound}"),
            false => format!("less than {bound}"),
        });
        let word = match (self.lower, self.upper) {
            (Some((lower, _)), Some((upper, _))) if lower > upper => " or ",
            _ => " and ",
        };
        let bounds: Vec<_> = [lower, upper].into_iter().flatten().collect();
        format!("must be {}", bounds.join(word))
    }
}

impl Length {
    /// `must {verb} at least {min} {unit}`
    pub(super) fn check(
        &self,
        length: usize,
        verb: &str,
        unit: &str,
        refuse: &mut dyn FnMut(String),
    ) {
        let length = length as u64;
        if self.min.is_some() && self.min == self.max && self.min != Some(length) {
            let exactly = self.min.unwrap_or_default();
            return refuse(format!("must {verb} exactly {exactly} {unit}"));
        }
        if let Some(min) = self.min.filter(|min| length < *min) {
            refuse(format!("must {verb} at least {min} {unit}"));
        }
        if let Some(max) = self.max.filter(|max| length > *max) {
            refuse(format!("must {verb} at most {max} {unit}"));
        }
    }
}

impl TextRules {
    fn check(&self, text: &str, refuse: &mut dyn FnMut(String)) {
        let characters = text.chars().count();
        let is = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| {
            wanted.as_deref().filter(|wanted| !test(wanted)).map(str::to_owned)
        };
        self.characters.check(characters, "be", "characters long", refuse);
        self.bytes.check(text.len(), "be", "bytes long", refuse);
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            refuse(format!("must match the pattern {pattern}"));
        }
        if let Some(exactly) = is(&self.exactly, &|exactly| text == exactly) {
            refuse(format!("must be {exactly:?}"));
        }
        if let Some(prefix) = is(&self.prefix, &|prefix| text.starts_with(prefix)) {
            refuse(format!("must begin with {prefix:?}"));
        }
        if let Some(suffix) = is(&self.suffix, &|suffix| text.ends_with(suffix)) {
            refuse(format!("must end with {suffix:?}"));
        }
        if let Some(part) = is(&self.contains, &|part| text.contains(part)) {
            refuse(format!("must contain {part:?}"));
        }
        if let Some(part) = is(&self.not_contains, &|part| !text.contains(part)) {
            refuse(format!("must not contain {part:?}"));
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed == text) {
            refuse(format!("must be one of {}", quoted(&self.allowed)));
        }
        if self.refused.iter().any(|refused| refused == text) {
            refuse(format!("must be none of {}", quoted(&self.refused)));
        }
        if let Some(format) = self.format.filter(|format| !format.matches(text)) {
            refuse(format!("must be {}", format.description()));
        }
    }
}

fn list<T: Display>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn quoted(values: &[String]) -> String {
    values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ")
}
