//! One expression in the Common Expression Language, <https://cel.dev>: checked when it is read, bounded in cost.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::common::ast::{EntryExpr, Expr};
use cel::{Context, IdedExpr, Program, Value};
use serde::Serialize;

/// Longest expression in bytes.
const SOURCE_BYTES_MAX: usize = 1024;
/// How deep `all`, `exists`, `exists_one`, `map` and `filter` may be nested or chained: each level multiplies the work.
const LOOPS_DEPTH_MAX: usize = 2;
/// Longest failure in bytes: it can quote what the gate says.
const FAILURE_BYTES_MAX: usize = 256;

/// What an expression can look at.
pub(super) const VARIABLES: [&str; 8] =
    ["name", "round", "requester", "labels", "spec", "subject", "evidence", "waiting_seconds"];
/// What it can call besides operators and `has`: nothing that costs more than what it is given is long.
pub(super) const FUNCTIONS: [&str; 9] =
    ["contains", "double", "endsWith", "int", "matches", "size", "startsWith", "string", "uint"];

/// A gate as expressions see it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Seen {
    pub name: String,
    pub round: i64,
    pub requester: String,
    pub labels: BTreeMap<String, String>,
    pub spec: SeenSpec,
    /// `uri` and `digest`, those that are set.
    pub subject: BTreeMap<&'static str, String>,
    pub evidence: BTreeMap<String, String>,
    pub waiting_seconds: f64,
}

/// What the gate asks for, as expressions see it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SeenSpec {
    pub title: String,
    pub description: String,
    pub required_approvals: i64,
    pub auto_approve: bool,
    /// Not there if the gate waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
}

/// Why an expression cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is too long.
    #[error("it has {0} bytes; at most {SOURCE_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// It cannot be parsed.
    #[error("{0}")]
    Syntax(String),
    /// It looks at what there is not.
    #[error("there is no {0} to look at: there are {names}", names = VARIABLES.join(", "))]
    UnknownVariable(String),
    /// It calls what there is not.
    #[error("there is no function {0}: there are has, {names}", names = FUNCTIONS.join(", "))]
    UnknownFunction(String),
    /// It would take too long.
    #[error("its loops are nested or chained more than {LOOPS_DEPTH_MAX} deep")]
    TooDeep,
}

/// A checked expression.
#[derive(Debug)]
pub(super) struct Expression(Program);

impl Expression {
    /// Parses an expression. Needs a deep stack.
    pub fn parse(source: &str) -> Result<Self, Invalid> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(Invalid::TooLong(source.len()));
        }
        let program = Program::compile(source).map_err(|errors| Invalid::Syntax(errors.to_string()))?;
        check(program.expression(), &Scope::default())?;
        Ok(Self(program))
    }

    /// Says whether the expression holds of a gate, or why it cannot say. Needs a deep stack.
    pub fn holds(&self, seen: &Seen) -> Result<bool, String> {
        // The library is not ours: whatever it does on an odd value must not end the coordinator.
        let result = catch_unwind(AssertUnwindSafe(|| self.evaluate(seen)));
        let failure = match result {
            Ok(Ok(Value::Bool(holds))) => return Ok(holds),
            Ok(Ok(other)) => format!("it gives {}, not true or false", other.type_of()),
            Ok(Err(failure)) => failure,
            Err(_) => "it cannot be evaluated".to_owned(),
        };
        Err(shortened(failure))
    }

    fn evaluate(&self, seen: &Seen) -> Result<Value, String> {
        let mut context = Context::default();
        let Value::Map(variables) = cel::to_value(seen).map_err(|error| error.to_string())? else {
            return Err("the gate is no map".to_owned());
        };
        for name in VARIABLES {
            if let Some(value) = variables.get(&cel::objects::Key::from(name)) {
                context.add_variable_from_value(name, value.clone());
            }
        }
        self.0.execute(&context).map_err(|error| error.to_string())
    }
}

/// Operators are called like functions, under names with signs.
fn is_name(function: &str) -> bool {
    function.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn shortened(text: String) -> String {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > FAILURE_BYTES_MAX) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

/// What a part of an expression is inside of.
#[derive(Clone, Default)]
struct Scope<'a> {
    loops: usize,
    /// The variables of the loops.
    variables: Vec<&'a str>,
}

/// Checks that all that an expression names is there, and that its loops are not nested too deep.
fn check<'a>(expression: &'a IdedExpr, scope: &Scope<'a>) -> Result<(), Invalid> {
    let all = |parts: Vec<&'a IdedExpr>| parts.into_iter().try_for_each(|part| check(part, scope));
    match &expression.expr {
        Expr::Ident(name) if VARIABLES.contains(&name.as_str()) || scope.variables.contains(&name.as_str()) => Ok(()),
        Expr::Ident(name) => Err(Invalid::UnknownVariable(name.clone())),
        Expr::Call(call) if is_name(&call.func_name) && !FUNCTIONS.contains(&call.func_name.as_str()) => {
            Err(Invalid::UnknownFunction(call.func_name.clone()))
        }
        Expr::Call(call) => all(call.target.as_deref().into_iter().chain(&call.args).collect()),
        Expr::Comprehension(repeated) => {
            let mut inside = Scope { loops: scope.loops + 1, ..scope.clone() };
            if inside.loops > LOOPS_DEPTH_MAX {
                return Err(Invalid::TooDeep);
            }
            // A loop over what a loop has made costs as one inside of it.
            let around = Scope { loops: inside.loops, ..scope.clone() };
            check(&repeated.iter_range, &around)?;
            check(&repeated.accu_init, scope)?;
            let own = [Some(&repeated.iter_var), repeated.iter_var2.as_ref(), Some(&repeated.accu_var)];
            inside.variables.extend(own.into_iter().flatten().map(String::as_str));
            [&repeated.loop_cond, &repeated.loop_step, &repeated.result]
                .into_iter()
                .try_for_each(|part| check(part, &inside))
        }
        Expr::List(list) => all(list.elements.iter().collect()),
        Expr::Map(map) => all(map.entries.iter().flat_map(|entry| parts(&entry.expr)).collect()),
        Expr::Struct(structure) => Err(Invalid::UnknownFunction(structure.type_name.clone())),
        Expr::Select(select) => check(&select.operand, scope),
        Expr::Literal(_) | Expr::Unspecified => Ok(()),
    }
}

fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}
