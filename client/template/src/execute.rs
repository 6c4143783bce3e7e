//! Executing a template, by the rules of Go's `text/template`.

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos, SmolStr, TemplateNode};

use crate::error::Fault;
use crate::functions::{self, Known, fields};
use crate::parse::{Program, position};
use crate::run::Run;
use crate::show;
use crate::value::{Failure, Value};

/// How deep blocks and named templates may be nested while executing.
const MAX_DEPTH: usize = 400;

/// Executes a template with `dot` as its data; the caller reads from `run` what was needed.
pub(crate) fn execute(program: &Program, run: &mut Run<'_>, strict: bool, dot: &Value) -> Result<Vec<u8>, Fault> {
    let variables = vec![(SmolStr::new_static("$"), dot.clone())];
    let mut executor = Executor { program, run, strict, variables, depth: 0, out: Vec::new() };
    executor.list(&program.body, dot)?;
    Ok(executor.out)
}

struct Executor<'a, 'r, 'd> {
    program: &'a Program,
    run: &'r mut Run<'d>,
    /// Whether a missing key is an error.
    strict: bool,
    variables: Vec<(SmolStr, Value)>,
    depth: usize,
    out: Vec<u8>,
}

/// What follows a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Executor<'a, '_, '_> {
    fn list(&mut self, list: &'a ListNode, dot: &Value) -> Result<Flow, Fault> {
        for node in &list.nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &'a Node, dot: &Value) -> Result<Flow, Fault> {
        let at = position(node);
        self.run.step().map_err(fault(at))?;
        match node {
            Node::Text(text) => self.print(at, |out| out.extend_from_slice(text.text.as_bytes()))?,
            Node::List(list) => return self.list(list, dot),
            Node::Define(_) => {}
            Node::Action(action) => {
                let value = self.pipe(&action.pipe, dot)?;
                if action.pipe.decl.is_empty() {
                    self.run.fits(value.weight()).map_err(fault(at))?;
                    self.print(at, |out| show::action(&value, out))?;
                }
            }
            Node::If(branch) => return self.nested(at, |own| own.conditional(branch, dot, false)),
            Node::With(branch) => return self.nested(at, |own| own.conditional(branch, dot, true)),
            Node::Range(branch) => return self.nested(at, |own| own.range(branch, dot)),
            Node::Template(call) => return self.nested(at, |own| own.template(call, dot)),
            Node::Break(_) => return Ok(Flow::Break),
            Node::Continue(_) => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, at: Pos, append: impl FnOnce(&mut Vec<u8>)) -> Result<(), Fault> {
        append(&mut self.out);
        self.run.written(self.out.len()).map_err(fault(at))
    }

    /// Does what has its own variables, one level deeper.
    fn nested(&mut self, at: Pos, work: impl FnOnce(&mut Self) -> Result<Flow, Fault>) -> Result<Flow, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::at(
                at.line,
                format!("blocks and templates are nested more than {MAX_DEPTH} levels deep"),
            ));
        }
        let known = self.variables.len();
        self.depth += 1;
        let flow = work(self);
        self.depth -= 1;
        self.variables.truncate(known);
        flow
    }

    fn conditional(&mut self, branch: &'a BranchNode, dot: &Value, with: bool) -> Result<Flow, Fault> {
        let value = self.pipe(&branch.pipe, dot)?;
        match &branch.else_body {
            _ if value.is_true() => self.list(&branch.body, if with { &value } else { dot }),
            Some(list) => self.list(list, dot),
            None => Ok(Flow::Next),
        }
    }

    fn range(&mut self, branch: &'a BranchNode, dot: &Value) -> Result<Flow, Fault> {
        let value = self.value(&branch.pipe, dot)?;
        let mut turns = 0_usize;
        match &value {
            Value::List(list) => {
                for (index, item) in list.items.iter().enumerate() {
                    turns += 1;
                    if self.turn(branch, Value::int(index), item)? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Map(map) | Value::Variable(map, _) => {
                for (key, item) in &map.entries {
                    turns += 1;
                    if self.turn(branch, Value::Text(key.clone()), item)? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Int(count) => {
                if branch.pipe.decl.len() > 1 {
                    let cause = format!("{{{{ range }}}} over the number {count} takes one variable");
                    return Err(Fault::at(branch.pos.line, cause));
                }
                for number in 0..(*count).max(0) {
                    turns += 1;
                    if self.turn(branch, Value::Int(number), &Value::Int(number))? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Nil => {}
            Value::Bool(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Item(_)
            | Value::Bytes(_)
            | Value::Time(_)
            | Value::Scratch => {
                return Err(Fault::at(branch.pos.line, format!("cannot range over a {}", value.kind())));
            }
        }
        match &branch.else_body {
            Some(list) if turns == 0 => self.list(list, dot),
            Some(_) | None => Ok(Flow::Next),
        }
    }

    fn turn(&mut self, branch: &'a BranchNode, key: Value, item: &Value) -> Result<Flow, Fault> {
        self.run.step().map_err(fault(branch.pos))?;
        let known = self.variables.len();
        let values = match branch.pipe.decl.len() {
            0 => Vec::new(),
            1 => vec![item.clone()],
            _ => vec![key, item.clone()],
        };
        for (name, value) in branch.pipe.decl.iter().zip(values) {
            self.bind(name, value, branch.pipe.is_assign);
        }
        let flow = self.list(&branch.body, item);
        self.variables.truncate(known);
        flow
    }

    fn template(&mut self, call: &'a TemplateNode, dot: &Value) -> Result<Flow, Fault> {
        let program = self.program;
        let Some(body) = program.defined.get(call.name.as_str()) else {
            return Err(Fault::at(call.pos.line, format!("there is no template {:?}", call.name)));
        };
        let data = match &call.pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Nil,
        };
        let callers = std::mem::replace(&mut self.variables, vec![(SmolStr::new_static("$"), data.clone())]);
        let flow = self.list(body, &data);
        self.variables = callers;
        flow.map(|_| Flow::Next)
    }

    fn bind(&mut self, name: &SmolStr, value: Value, assign: bool) {
        let known = if assign { self.variables.iter_mut().rev().find(|(known, _)| known == name) } else { None };
        match known {
            Some((_, slot)) => *slot = value,
            None => self.variables.push((name.clone(), value)),
        }
    }

    /// The value of a pipeline, given to the variable that it declares.
    fn pipe(&mut self, pipe: &'a PipeNode, dot: &Value) -> Result<Value, Fault> {
        let value = self.value(pipe, dot)?;
        if let Some(name) = pipe.decl.first() {
            self.bind(name, value.clone(), pipe.is_assign);
        }
        Ok(value)
    }

    fn value(&mut self, pipe: &'a PipeNode, dot: &Value) -> Result<Value, Fault> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value.take())?);
        }
        Ok(value.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &'a CommandNode, dot: &Value, piped: Option<Value>) -> Result<Value, Fault> {
        let Some((first, rest)) = command.args.split_first() else { return Ok(Value::Nil) };
        let at = first.pos();
        if let Expr::Identifier(_, name) = first {
            return self.call(at, name, rest, dot, piped);
        }
        if let Expr::Chain(_, inner, chain) = first
            && let Expr::Identifier(_, name) = inner.as_ref()
            && name != "scratch"
        {
            let value = self.call(at, name, rest, dot, piped)?;
            return self.walk(at, value, chain);
        }
        if rest.is_empty() && piped.is_none() {
            if matches!(first, Expr::Nil(_)) {
                return Err(Fault::at(at.line, "nil is not a command"));
            }
            return self.expr(first, dot);
        }
        // What is given arguments is a method: the last name of a chain.
        let (receiver, chain) = match first {
            Expr::Field(_, chain) => (dot.clone(), chain),
            Expr::Variable(_, name, chain) if !chain.is_empty() => (self.variable(at, name)?, chain),
            Expr::Chain(_, inner, chain) => (self.expr(inner, dot)?, chain),
            Expr::Dot(_)
            | Expr::Variable(..)
            | Expr::Identifier(..)
            | Expr::String(..)
            | Expr::Number(..)
            | Expr::Bool(..)
            | Expr::Nil(_)
            | Expr::Pipe(..) => return Err(Fault::at(at.line, "arguments are given to what is not a function")),
        };
        let Some((method, path)) = chain.split_last() else { return Ok(receiver) };
        let receiver = self.walk(at, receiver, path)?;
        let args = self.arguments(rest, dot, piped)?;
        self.run.step().map_err(fault(at))?;
        let result = fields::call(self.run, &receiver, method, &args);
        result.map_err(|Failure(cause)| Fault::at(at.line, format!(".{method}: {cause}")))
    }

    fn arguments(&mut self, exprs: &'a [Expr], dot: &Value, piped: Option<Value>) -> Result<Vec<Value>, Fault> {
        let mut args = Vec::with_capacity(exprs.len() + 1);
        for expr in exprs {
            args.push(self.expr(expr, dot)?);
        }
        args.extend(piped);
        Ok(args)
    }

    fn call(
        &mut self,
        at: Pos,
        name: &str,
        exprs: &'a [Expr],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Fault> {
        self.run.step().map_err(fault(at))?;
        match functions::find(name) {
            Known::Here(function) => {
                let args = self.arguments(exprs, dot, piped)?;
                let failed = |Failure(cause)| Fault::at(at.line, format!("{name}: {cause}"));
                let value = function(self.run, &args).map_err(failed)?;
                self.run.take(value.own_size()).map_err(failed)?;
                if let (true, Some(Expr::Variable(_, variable, chain))) =
                    (functions::CHANGING.contains(&name), exprs.first())
                    && chain.is_empty()
                {
                    self.bind(variable, value.clone(), true);
                }
                Ok(value)
            }
            Known::ShortCircuit => self.short_circuit(at, name, exprs, dot, piped),
            Known::Refused(reason) => Err(Fault::at(at.line, format!("function {name:?} {reason}"))),
            Known::Not => Err(Fault::at(at.line, format!("function {name:?} is not known"))),
        }
    }

    /// `and` and `or` evaluate no more than they need.
    fn short_circuit(
        &mut self,
        at: Pos,
        name: &str,
        exprs: &'a [Expr],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Fault> {
        let decides = name == "or";
        let mut last = None;
        for expr in exprs {
            let value = self.expr(expr, dot)?;
            if value.is_true() == decides {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| Fault::at(at.line, format!("{name}: takes at least one argument")))
    }

    fn variable(&self, at: Pos, name: &str) -> Result<Value, Fault> {
        let known = self.variables.iter().rev().find(|(known, _)| known == name);
        known
            .map(|(_, value)| value.clone())
            .ok_or_else(|| Fault::at(at.line, format!("variable {name} is not defined")))
    }

    fn walk(&self, at: Pos, mut value: Value, chain: &[SmolStr]) -> Result<Value, Fault> {
        for name in chain {
            value = fields::get(&value, name, self.strict).map_err(fault(at))?;
        }
        Ok(value)
    }

    fn expr(&mut self, expr: &'a Expr, dot: &Value) -> Result<Value, Fault> {
        match expr {
            Expr::Dot(_) => Ok(dot.clone()),
            Expr::Field(at, chain) => self.walk(*at, dot.clone(), chain),
            Expr::Variable(at, name, chain) => {
                let value = self.variable(*at, name)?;
                self.walk(*at, value, chain)
            }
            Expr::String(_, text) => Ok(Value::Text(text.clone())),
            Expr::Number(_, Number::Int(number)) => Ok(Value::Int(*number)),
            Expr::Number(at, Number::Uint(number)) => Err(Fault::at(at.line, format!("{number} is too large"))),
            Expr::Number(_, Number::Float(number)) => Ok(Value::Float(*number)),
            Expr::Bool(_, value) => Ok(Value::Bool(*value)),
            Expr::Nil(_) => Ok(Value::Nil),
            Expr::Pipe(_, pipe) => self.value(pipe, dot),
            Expr::Identifier(at, name) => self.call(*at, name, &[], dot, None),
            Expr::Chain(at, inner, chain) => {
                let value = self.expr(inner, dot)?;
                if let (Value::Scratch, Some((method, []))) = (&value, chain.split_last()) {
                    let result = fields::call(self.run, &value, method, &[]);
                    return result.map_err(|Failure(cause)| Fault::at(at.line, format!(".{method}: {cause}")));
                }
                self.walk(*at, value, chain)
            }
        }
    }
}

fn fault(at: Pos) -> impl Fn(Failure) -> Fault {
    move |Failure(cause)| Fault::at(at.line, cause)
}
