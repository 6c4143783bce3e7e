//! Numbers: exact integers, and binary fractions where a value is not whole.

use std::cmp::Ordering;
use std::fmt;

/// Whole floats below this magnitude (2^53) are exact, and stored as integers.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// A finite number.
///
/// A whole number is always an `Int` as long as that is exact, so `2.0` equals `2` and prints as `2`. Integer arithmetic is
/// exact or fails; it never turns into a float by itself.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// A whole number.
    Int(i128),
    /// A number with a fraction, or one too large to be exact. Never infinite, never NaN.
    Float(f64),
}

impl Number {
    /// A float, which is stored as integer if it is whole; `None` if it is not finite.
    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        if value.fract() == 0.0 && value.abs() <= EXACT_FLOAT {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
            let whole = value as i128;
            return Some(Self::Int(whole));
        }
        Some(Self::Float(value))
    }

    /// Reads a decimal literal such as `-12`, `2.50` or `1e3`; `None` if it is none or not finite.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
            None => (digits, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || fraction.is_some_and(|f| !all_digits(f)) || exponent.is_some_and(|e| !all_digits(e)) {
            return None;
        }
        if fraction.is_none()
            && exponent.is_none()
            && let Ok(int) = text.parse()
        {
            return Some(Self::Int(int));
        }
        text.parse().ok().and_then(Self::from_f64)
    }

    /// As a float, rounded if need be.
    #[expect(clippy::cast_precision_loss, reason = "that is what is asked for")]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    /// As a 64-bit integer, if it is exactly one.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Int(int) => i64::try_from(int).ok(),
            Self::Float(_) => None,
        }
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Int(0))
    }

    fn combine(
        self,
        other: Self,
        int: fn(i128, i128) -> Option<i128>,
        float: fn(f64, f64) -> f64,
    ) -> Result<Self, &'static str> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => int(a, b).map(Self::Int).ok_or(TOO_LARGE),
            (a, b) => Self::from_f64(float(a.as_f64(), b.as_f64())).ok_or(TOO_LARGE),
        }
    }

    /// The sum; an error if it is too large.
    pub fn checked_add(self, other: Self) -> Result<Self, &'static str> {
        self.combine(other, i128::checked_add, |a, b| a + b)
    }

    /// The difference; an error if it is too large.
    pub fn checked_sub(self, other: Self) -> Result<Self, &'static str> {
        self.combine(other, i128::checked_sub, |a, b| a - b)
    }

    /// The product; an error if it is too large.
    pub fn checked_mul(self, other: Self) -> Result<Self, &'static str> {
        self.combine(other, i128::checked_mul, |a, b| a * b)
    }

    /// The quotient, with a fraction if it does not come out even; an error for a zero divisor.
    pub fn checked_div(self, other: Self) -> Result<Self, &'static str> {
        if other.is_zero() {
            return Err("division by zero");
        }
        if let (Self::Int(a), Self::Int(b)) = (self, other) {
            match a.checked_rem(b) {
                Some(0) => return a.checked_div(b).map(Self::Int).ok_or(TOO_LARGE),
                Some(_) => {}
                None => return Err(TOO_LARGE),
            }
        }
        Self::from_f64(self.as_f64() / other.as_f64()).ok_or(TOO_LARGE)
    }

    /// The remainder, with the sign of the dividend; an error for a zero divisor.
    pub fn checked_rem(self, other: Self) -> Result<Self, &'static str> {
        if other.is_zero() {
            return Err("division by zero");
        }
        self.combine(other, |a, b| a.checked_rem(b).or(Some(0)), |a, b| a % b)
    }

    /// The number with the other sign; an error if that is too large.
    pub fn checked_neg(self) -> Result<Self, &'static str> {
        Self::Int(0).checked_sub(self)
    }
}

const TOO_LARGE: &str = "the result is too large a number";

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (a, b) => a.as_f64().total_cmp(&b.as_f64()),
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::Int(value.into())
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Int(i128::try_from(value).unwrap_or(i128::MAX))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => int.fmt(f),
            Self::Float(float) => float.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_beyond_64_bits_stay_exact_or_fail() {
        let max = Number::parse("9223372036854775807").unwrap();
        assert_eq!(max.checked_add(Number::Int(1)).unwrap().to_string(), "9223372036854775808");
        assert!(Number::Int(i128::MAX).checked_add(Number::Int(1)).is_err());
        assert!(Number::Int(i128::MIN).checked_neg().is_err());
        assert!(Number::Int(i128::MIN).checked_div(Number::Int(-1)).is_err());
    }

    #[test]
    fn whole_floats_are_integers() {
        assert_eq!(Number::parse("2.0"), Some(Number::Int(2)));
        assert_eq!(Number::parse("1e3"), Some(Number::Int(1000)));
        assert_eq!(Number::Int(7).checked_div(Number::Int(2)).unwrap().to_string(), "3.5");
        assert_eq!(Number::Int(6).checked_div(Number::Int(2)), Ok(Number::Int(3)));
    }

    #[test]
    fn only_decimal_literals_are_numbers() {
        for text in ["", "-", "+1", " 1", "0x10", "1.", ".5", "inf", "NaN", "1e", "1e999", "1_000"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }
}
