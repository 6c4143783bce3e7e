//! Constraints, compiled: targets taken apart, expressions and versions read once.

use std::borrow::Cow;
use std::cmp::Ordering;

use orch_model::Node;
use orch_model::job::{Affinity, Constraint, Operator, Version, VersionConstraints, VersionRule};
use regex::{Regex, RegexBuilder};

/// The most memory that a compiled expression takes.
const EXPRESSION_BYTES: usize = 1 << 20;

/// A constraint that is ready to be asked of nodes.
#[derive(Debug)]
pub(crate) struct Compiled {
    left: Target,
    right: Target,
    test: Test,
    text: String,
}

/// One side of a constraint, or what a spread or a distinct property looks at.
#[derive(Debug)]
pub(crate) enum Target {
    Literal(String),
    NodeId,
    NodeName,
    Datacenter,
    NodeClass,
    Pool,
    Attribute(String),
    Meta(String),
    Unknown,
}

/// How the sides are compared. What stands on the right side as a literal is read once; where it cannot be read, or is
/// an attribute, it is read anew from each node's value.
#[derive(Debug)]
enum Test {
    Equal,
    NotEqual,
    Ordered(fn(Ordering) -> bool),
    Regexp(Option<Regex>),
    Version(VersionRule, Option<VersionConstraints>),
    ContainsAll,
    ContainsAny,
    IsSet,
    IsNotSet,
    /// No node fulfils it.
    Never,
}

impl Compiled {
    pub(crate) fn new(constraint: &Constraint) -> Self {
        let Constraint { l_target, r_target, operand } = constraint;
        let right = Target::parse(r_target);
        let word = if operand.is_empty() { "=" } else { operand };
        let text = format!("{l_target} {word} {r_target}").trim_end().to_owned();
        Self { test: Test::of(constraint.operator(), right.literal()), left: Target::parse(l_target), right, text }
    }

    /// What an affinity asks, its weight apart.
    pub(crate) fn of_affinity(affinity: &Affinity) -> Self {
        let Affinity { l_target, r_target, operand, weight: _ } = affinity;
        let constraint =
            Constraint { l_target: l_target.clone(), r_target: r_target.clone(), operand: operand.clone() };
        Self::new(&constraint)
    }

    /// The constraint as explanations show it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it looks at what nodes of one class do not share.
    pub(crate) fn is_unique(&self) -> bool {
        self.left.is_unique() || self.right.is_unique()
    }

    /// Whether `node` fulfils it.
    pub(crate) fn holds(&self, node: &Node) -> bool {
        let left = self.left.of(node);
        let right = self.right.of(node);
        match &self.test {
            Test::IsSet => return left.is_some(),
            Test::IsNotSet => return left.is_none(),
            Test::NotEqual => return left.unwrap_or_default() != right.unwrap_or_default(),
            Test::Never => return false,
            Test::Equal
            | Test::Ordered(_)
            | Test::Regexp(_)
            | Test::Version(..)
            | Test::ContainsAll
            | Test::ContainsAny => {}
        }
        let (Some(left), Some(right)) = (left, right) else { return false };
        self.test.compares(&left, &right)
    }
}

impl Test {
    fn of(operator: Option<Operator>, literal: Option<&str>) -> Self {
        let version = |rule| Self::Version(rule, literal.and_then(|text| VersionConstraints::parse(text, rule).ok()));
        match operator {
            Some(Operator::Equal) => Self::Equal,
            Some(Operator::NotEqual) => Self::NotEqual,
            Some(Operator::Less) => Self::Ordered(Ordering::is_lt),
            Some(Operator::LessOrEqual) => Self::Ordered(Ordering::is_le),
            Some(Operator::Greater) => Self::Ordered(Ordering::is_gt),
            Some(Operator::GreaterOrEqual) => Self::Ordered(Ordering::is_ge),
            Some(Operator::Regexp) => Self::Regexp(literal.and_then(expression)),
            Some(Operator::Version) => version(VersionRule::Version),
            Some(Operator::Semver) => version(VersionRule::Semver),
            Some(Operator::SetContainsAll) => Self::ContainsAll,
            Some(Operator::SetContainsAny) => Self::ContainsAny,
            Some(Operator::IsSet) => Self::IsSet,
            Some(Operator::IsNotSet) => Self::IsNotSet,
            Some(Operator::DistinctHosts | Operator::DistinctProperty) | None => Self::Never,
        }
    }

    fn compares(&self, left: &str, right: &str) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Ordered(holds) => order(left, right).is_some_and(holds),
            Self::Regexp(read) => {
                match read.as_ref().map(Cow::Borrowed).or_else(|| expression(right).map(Cow::Owned)) {
                    Some(expression) => expression.is_match(left),
                    None => false,
                }
            }
            Self::Version(rule, read) => {
                let conditions = read
                    .as_ref()
                    .map(Cow::Borrowed)
                    .or_else(|| VersionConstraints::parse(right, *rule).ok().map(Cow::Owned));
                conditions.is_some_and(|wanted| Version::parse(left).is_ok_and(|version| wanted.matches(&version)))
            }
            Self::ContainsAll => items(right).all(|wanted| items(left).any(|item| item == wanted)),
            Self::ContainsAny => items(right).any(|wanted| items(left).any(|item| item == wanted)),
            Self::IsSet => true,
            Self::IsNotSet | Self::Never => false,
        }
    }
}

fn expression(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).size_limit(EXPRESSION_BYTES).dfa_size_limit(EXPRESSION_BYTES).build().ok()
}

/// Whole numbers if both are, else numbers if both are, else texts.
fn order(left: &str, right: &str) -> Option<Ordering> {
    if let (Ok(left), Ok(right)) = (left.parse::<i64>(), right.parse::<i64>()) {
        return Some(left.cmp(&right));
    }
    if let (Ok(left), Ok(right)) = (left.parse::<f64>(), right.parse::<f64>()) {
        return left.partial_cmp(&right);
    }
    Some(left.cmp(right))
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

impl Target {
    pub(crate) fn parse(text: &str) -> Self {
        let Some(inside) = text.strip_prefix("${") else { return Self::Literal(text.to_owned()) };
        let Some(name) = inside.strip_suffix('}') else { return Self::Unknown };
        match name {
            "node.unique.id" => Self::NodeId,
            "node.unique.name" => Self::NodeName,
            "node.datacenter" => Self::Datacenter,
            "node.class" => Self::NodeClass,
            "node.pool" => Self::Pool,
            _ => match (name.strip_prefix("attr."), name.strip_prefix("meta.")) {
                (Some(key), _) => Self::Attribute(key.to_owned()),
                (None, Some(key)) => Self::Meta(key.to_owned()),
                (None, None) => Self::Unknown,
            },
        }
    }

    fn literal(&self) -> Option<&str> {
        if let Self::Literal(text) = self { Some(text) } else { None }
    }

    /// Whether nodes of one class may answer differently.
    pub(crate) fn is_unique(&self) -> bool {
        match self {
            Self::NodeId | Self::NodeName => true,
            Self::Attribute(key) | Self::Meta(key) => key.starts_with("unique."),
            Self::Literal(_) | Self::Datacenter | Self::NodeClass | Self::Pool | Self::Unknown => false,
        }
    }

    /// What it stands for on `node`; `None` if nothing.
    pub(crate) fn of<'a>(&'a self, node: &'a Node) -> Option<Cow<'a, str>> {
        let described = &*node.described;
        let text = match self {
            Self::NodeId => return Some(node.id.to_string().into()),
            Self::Literal(text) => text,
            Self::NodeName => &described.name,
            Self::Datacenter => &described.datacenter,
            Self::NodeClass => &described.node_class,
            Self::Pool => &described.node_pool,
            Self::Attribute(key) => described.attributes.get(key)?,
            Self::Meta(key) => described.meta.get(key)?,
            Self::Unknown => return None,
        };
        Some(Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_model::testing::node;

    #[test]
    fn operators_compare_as_the_job_specification_says() {
        let node = node(1)
            .attribute("kernel.name", "linux")
            .attribute("cpu.numcores", "12")
            .attribute("load", "1.5")
            .attribute("os.version", "22.04")
            .attribute("app", "1.3.0-beta1")
            .attribute("four", "1.2.3.4")
            .attribute("extensions", "sse, avx,avx2")
            .meta("rack", "r1")
            .build();
        let id = node.id.to_string();
        for (left, operand, right, expected) in [
            ("${attr.kernel.name}", "=", "linux", true),
            ("${attr.kernel.name}", "", "linux", true),
            ("${attr.kernel.name}", "is", "windows", false),
            ("${attr.none}", "=", "", false),
            ("${attr.none}", "!=", "linux", true),
            ("${attr.none}", "!=", "", false),
            ("${attr.kernel.name}", "not", "linux", false),
            ("${attr.cpu.numcores}", ">", "9", true),
            ("${attr.cpu.numcores}", "<", "9", false),
            ("${attr.load}", "<=", "1.50", true),
            ("${meta.rack}", ">=", "r0", true),
            ("${meta.none}", ">=", "r0", false),
            ("${attr.kernel.name}", "regexp", "^lin", true),
            ("${attr.kernel.name}", "regexp", "nu", true),
            ("${attr.kernel.name}", "regexp", "(", false),
            ("${attr.os.version}", "version", ">= 20.04, < 23", true),
            ("${attr.app}", "version", ">= 1.0", false),
            ("${attr.app}", "semver", ">= 1.0.0", true),
            ("${attr.four}", "version", "> 1.2.3.3, ~> 1.2.3.0", true),
            ("${attr.kernel.name}", "version", ">= 1", false),
            ("${attr.extensions}", "set_contains", "avx2, sse", true),
            ("${attr.extensions}", "set_contains_all", "avx512,sse", false),
            ("${attr.extensions}", "set_contains_any", "avx512,sse", true),
            ("${meta.rack}", "is_set", "", true),
            ("${meta.rack}", "is_not_set", "", false),
            ("${meta.none}", "is_not_set", "", true),
            ("r1", "=", "${meta.rack}", true),
            ("${node.datacenter}", "=", "dc1", true),
            ("${node.unique.name}", "=", "node-1", true),
            ("${node.unique.id}", "=", id.as_str(), true),
            ("${node.pool}", "=", "default", true),
            ("${node.nothing}", "is_set", "", false),
            ("linux", "=", "linux", true),
        ] {
            let constraint = Constraint { l_target: left.into(), operand: operand.into(), r_target: right.into() };
            assert_eq!(Compiled::new(&constraint).holds(&node), expected, "{left} {operand} {right}");
        }
    }
}
