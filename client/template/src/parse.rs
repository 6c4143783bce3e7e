//! Reading a template: gotmpl's parser, and the checks that Go makes while parsing and gotmpl does not.

use std::collections::{BTreeMap, HashMap};

use gotmpl::TemplateError;
use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, Parser, PipeNode, Pos};

use crate::error::Fault;
use crate::functions::{self, Known};

/// A template that may be executed.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) body: ListNode,
    /// What `define` and `block` named.
    pub(crate) defined: BTreeMap<String, ListNode>,
}

/// What stands behind the last line, to see whether the parser came so far, and on which level: it neither minds an
/// `end` too many nor one too few.
const LAST: &str = "the end of the template";
/// The parser recurses for each `else if`.
const MAX_ELSE: usize = 2000;

/// Reads a template. Empty delimiters mean the usual ones.
pub(crate) fn parse(text: &str, left: &str, right: &str) -> Result<Program, Fault> {
    let left = if left.is_empty() { "{{" } else { left };
    let right = if right.is_empty() { "}}" } else { right };
    if text.match_indices("else").count() > MAX_ELSE {
        return Err(Fault::somewhere(format!("it has more than {MAX_ELSE} times the word \"else\"")));
    }
    let whole = format!("{text}{left}\"{LAST}\"{right}");
    // The text alone first: what is open at its end is not to be closed by what follows.
    let parsed = Parser::new(text, left, right).and_then(|_| Parser::new(&whole, left, right)).and_then(Parser::parse);
    let (mut body, defines) = parsed.map_err(|error| from_parser(error, text))?;
    if !ends_with_last(&body) {
        let bodies = defines.iter().map(|define| (&define.body, define.pos, "define"));
        return Err(unbalanced(&body, bodies));
    }
    body.nodes.pop();
    let mut defined = BTreeMap::<String, ListNode>::new();
    for define in defines {
        let known = defined.get(define.name.as_str());
        if known.is_some_and(|known| !known.is_empty_tree()) {
            if define.body.is_empty_tree() {
                continue;
            }
            return Err(Fault::at(define.pos.line, format!("there is more than one template {:?}", define.name)));
        }
        defined.insert(define.name.to_string(), define.body);
    }
    check(&body)?;
    defined.values().try_for_each(check)?;
    Ok(Program { body, defined })
}

fn from_parser(error: TemplateError, text: &str) -> Fault {
    match error {
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            let last = text.lines().count().max(1);
            Fault { line: (line > 0).then_some(line.min(last)), cause: message }
        }
        other => Fault::somewhere(other.to_string()),
    }
}

fn ends_with_last(list: &ListNode) -> bool {
    let Some(Node::Action(action)) = list.nodes.last() else { return false };
    matches!(action.pipe.commands.as_slice(), [CommandNode { args, .. }] if matches!(args.as_slice(), [Expr::String(_, text)] if &**text == LAST))
}

/// Finds the block that the end of the template is in, or says that there is an `end` too many.
fn unbalanced<'a>(body: &'a ListNode, defines: impl Iterator<Item = (&'a ListNode, Pos, &'static str)>) -> Fault {
    let mut open: Vec<(&ListNode, Option<(Pos, &str)>)> = vec![(body, None)];
    open.extend(defines.map(|(list, pos, word)| (list, Some((pos, word)))));
    while let Some((list, owner)) = open.pop() {
        match owner {
            Some((pos, word)) if ends_with_last(list) => {
                return Fault::at(pos.line, format!("{{{{ {word} }}}} has no {{{{ end }}}}"));
            }
            Some(_) | None => {}
        }
        for node in &list.nodes {
            let (branch, word) = match node {
                Node::If(branch) => (branch, "if"),
                Node::Range(branch) => (branch, "range"),
                Node::With(branch) => (branch, "with"),
                Node::List(_)
                | Node::Text(_)
                | Node::Action(_)
                | Node::Template(_)
                | Node::Define(_)
                | Node::Break(_)
                | Node::Continue(_) => continue,
            };
            open.push((&branch.body, Some((branch.pos, word))));
            open.extend(branch.else_body.as_ref().map(|list| (list, Some((branch.pos, word)))));
        }
    }
    let line = body.nodes.last().map_or(1, |node| position(node).line);
    Fault::at(line, "after this line there is an {{ end }} or {{ else }} too many")
}

/// Where a node begins.
pub(crate) fn position(node: &Node) -> Pos {
    match node {
        Node::List(list) => list.pos,
        Node::Text(text) => text.pos,
        Node::Action(action) => action.pos,
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => branch.pos,
        Node::Template(call) => call.pos,
        Node::Define(define) => define.pos,
        Node::Break(pos) | Node::Continue(pos) => *pos,
    }
}

/// Functions, variables and `break`, checked as Go's parser does.
fn check(list: &ListNode) -> Result<(), Fault> {
    let mut checker = Checker { variables: Vec::new(), known: HashMap::from([("$", 1)]), loops: 0 };
    checker.list(list)
}

struct Checker<'a> {
    /// The variables in the order in which they were declared, and how often each.
    variables: Vec<&'a str>,
    known: HashMap<&'a str, usize>,
    loops: usize,
}

impl<'a> Checker<'a> {
    fn list(&mut self, list: &'a ListNode) -> Result<(), Fault> {
        let known = self.variables.len();
        let result = list.nodes.iter().try_for_each(|node| self.node(node));
        self.forget(known);
        result
    }

    /// Ends the scope of what was declared after the first so many.
    fn forget(&mut self, count: usize) {
        for name in self.variables.split_off(count) {
            self.known.entry(name).and_modify(|times| *times -= 1);
        }
    }

    fn node(&mut self, node: &'a Node) -> Result<(), Fault> {
        match node {
            Node::Text(_) => Ok(()),
            Node::List(list) => self.list(list),
            Node::Define(define) => self.list(&define.body),
            Node::Action(action) => self.pipe(&action.pipe),
            Node::If(branch) | Node::With(branch) => self.branch(branch, 0),
            Node::Range(branch) => self.branch(branch, 1),
            Node::Template(call) => call.pipe.as_ref().map_or(Ok(()), |pipe| self.pipe(pipe)),
            Node::Break(pos) | Node::Continue(pos) if self.loops == 0 => {
                Err(Fault::at(pos.line, "{{ break }} and {{ continue }} only make sense inside a {{ range }}"))
            }
            Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(&mut self, branch: &'a BranchNode, loops: usize) -> Result<(), Fault> {
        let known = self.variables.len();
        self.pipe(&branch.pipe)?;
        self.loops += loops;
        self.list(&branch.body)?;
        self.loops -= loops;
        if let Some(list) = &branch.else_body {
            self.list(list)?;
        }
        self.forget(known);
        Ok(())
    }

    fn pipe(&mut self, pipe: &'a PipeNode) -> Result<(), Fault> {
        for command in &pipe.commands {
            for expr in &command.args {
                self.expr(expr)?;
            }
        }
        for name in &pipe.decl {
            if pipe.is_assign {
                self.variable(pipe.pos, name)?;
            } else {
                self.variables.push(name);
                *self.known.entry(name).or_default() += 1;
            }
        }
        Ok(())
    }

    fn expr(&mut self, expr: &'a Expr) -> Result<(), Fault> {
        match expr {
            Expr::Dot(_) | Expr::Field(..) | Expr::String(..) | Expr::Number(..) | Expr::Bool(..) | Expr::Nil(_) => {
                Ok(())
            }
            Expr::Variable(pos, name, _) => self.variable(*pos, name),
            Expr::Identifier(pos, name) => match functions::find(name) {
                Known::Here(_) | Known::ShortCircuit => Ok(()),
                Known::Refused(reason) => Err(Fault::at(pos.line, format!("function {name:?} {reason}"))),
                Known::Not => Err(Fault::at(pos.line, format!("function {name:?} is not known"))),
            },
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(_, inner, _) => self.expr(inner),
        }
    }

    fn variable(&self, pos: Pos, name: &str) -> Result<(), Fault> {
        if self.known.get(name).is_some_and(|times| *times > 0) {
            return Ok(());
        }
        Err(Fault::at(pos.line, format!("variable {name} is not defined")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (Option<usize>, String) {
        let fault = parse(text, "", "").unwrap_err();
        (fault.line, fault.cause)
    }

    #[test]
    fn a_template_that_does_not_parse_says_where_and_why() {
        for (text, line, cause) in [
            ("a\n{{ if true }}\nb\n", Some(2), "{{ if }} has no {{ end }}"),
            ("{{ range 3 }}{{ with 1 }}\n{{ end }}", Some(1), "{{ range }} has no {{ end }}"),
            ("{{ if true }}{{ end }}\n{{ if 1 }}{{ else if 2 }}", Some(2), "has no {{ end }}"),
            ("\n\n{{ define \"x\" }}", Some(3), "{{ define }} has no {{ end }}"),
            ("a\nb{{ 1 }}{{ end }}c", Some(2), "too many"),
            ("{{ 1 }}{{ else }}c", Some(1), "too many"),
            ("\n{{ nope 1 }}", Some(2), "function \"nope\" is not known"),
            ("{{ if false }}\n{{ (printf \"%s\" (nope)).x }}{{ end }}", Some(2), "function \"nope\" is not known"),
            ("\n\n{{ $x }}", Some(3), "variable $x is not defined"),
            ("{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}", Some(1), "variable $x is not defined"),
            ("{{ $x = 1 }}", Some(1), "variable $x is not defined"),
            ("{{ $x := 1 }}{{ define \"d\" }}\n{{ $x }}{{ end }}", Some(2), "variable $x is not defined"),
            ("\n{{ break }}", Some(2), "inside a {{ range }}"),
            ("{{ define \"a\" }}x{{ end }}\n{{ define \"a\" }}y{{ end }}", Some(2), "more than one template \"a\""),
            ("x\n{{ .a", Some(2), "unclosed action"),
            ("x\n{{ \"a }}", Some(2), "unterminated"),
            ("x\n{{/* a", Some(2), "comment"),
            ("{{ }}", Some(1), "empty command"),
            ("\n{{ key \"a/b\" }}", Some(2), "function \"key\" needs Consul"),
            ("{{ with secret \"a\" }}{{ end }}", Some(1), "function \"secret\" needs Vault"),
            ("{{ executeTemplate \"a\" }}", Some(1), "function \"executeTemplate\" is denied"),
            ("{{ \"x\" | writeToFile \"/etc/x\" \"\" \"\" \"\" }}", Some(1), "function \"writeToFile\" is denied"),
        ] {
            let (at, message) = fault(text);
            assert!(message.contains(cause), "{text:?}: {message}");
            assert_eq!(at, line, "{text:?}: {message}");
        }
    }

    #[test]
    fn deep_or_endless_nesting_is_refused_before_it_hurts() {
        let deep = "{{ if 1 }}".repeat(5000);
        assert!(fault(&deep).1.contains("nesting depth"));
        let parens = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
        assert!(fault(&parens).1.contains("nesting depth"));
        let chain = format!("{{{{ if 1 }}}}{}{{{{ end }}}}", "{{ else if 1 }}".repeat(100_000));
        assert!(fault(&chain).1.contains("\"else\""));
    }

    #[test]
    fn what_go_accepts_is_accepted() {
        for text in [
            "",
            "no action",
            "{{- 1 -}}",
            "{{/* a comment */}}",
            "{{ if 1 }}a{{ else if 2 }}b{{ else }}c{{ end }}",
            "{{ with 1 }}a{{ else with 2 }}b{{ end }}",
            "{{ range $i, $x := split \",\" \"a,b\" }}{{ if $i }}{{ break }}{{ end }}{{ $x }}{{ end }}",
            "{{ define \"a\" }}{{ end }}{{ define \"a\" }}x{{ end }}{{ template \"a\" . }}",
            "{{ block \"b\" 1 }}{{ . }}{{ end }}",
            "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}",
            "{{ true | and true }}",
        ] {
            parse(text, "", "").unwrap_or_else(|fault| panic!("{text:?}: {fault:?}"));
        }
        parse("<% 1 %> {{ not an action }}", "<%", "%>").unwrap();
    }
}
