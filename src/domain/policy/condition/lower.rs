//! From CEL syntax to typed predicates.
//!
//! What has no typed form stays an interpreted leaf; `&&`, `||`, `!` and `?:` are lowered around it. Comparisons that
//! can never be true, because the kinds of both sides are known and differ, are problems at load.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::check::{Reference, Walk, compile_pattern, text_literal};
use super::interpret::Interpreted;
use super::predicate::{Comparison, Literal, Operand, Predicate, TextTest};
use crate::domain::value::Number;

/// Lowers a whole condition, recording reads and problems in `walk`.
pub(super) fn lower(expression: &IdedExpr, walk: &mut Walk<'_>) -> Predicate {
    match &expression.expr {
        Expr::Literal(LiteralValue::Boolean(value)) => Predicate::Constant(*value.inner()),
        Expr::Call(call) => {
            let operands: Vec<&IdedExpr> = call.args.iter().collect();
            match (call.func_name.as_str(), operands.as_slice()) {
                (operators::LOGICAL_AND, [left, right]) => {
                    Predicate::And(Box::new(lower(left, walk)), Box::new(lower(right, walk)))
                }
                (operators::LOGICAL_OR, [left, right]) => {
                    Predicate::Or(Box::new(lower(left, walk)), Box::new(lower(right, walk)))
                }
                (operators::LOGICAL_NOT, [inner]) => Predicate::Not(Box::new(lower(inner, walk))),
                (operators::CONDITIONAL, [condition, then, otherwise]) => {
                    Predicate::If(Box::new([lower(condition, walk), lower(then, walk), lower(otherwise, walk)]))
                }
                _ => leaf(expression, walk),
            }
        }
        _ => leaf(expression, walk),
    }
}

fn leaf(expression: &IdedExpr, walk: &mut Walk<'_>) -> Predicate {
    if let Some(what) = never_bool(expression) {
        walk.problem(expression.id, format!("{what} is not true or false"), None);
    }
    // Needs are per leaf: an interpreted one binds what it names itself.
    let before = std::mem::take(&mut walk.needs);
    walk.visit(expression);
    let needs = std::mem::replace(&mut walk.needs, before);
    merge(&mut walk.needs, &needs);
    match typed(expression, walk) {
        Some(predicate) => predicate,
        None => Predicate::Interpreted(Interpreted { expression: expression.clone(), needs }),
    }
}

fn merge(into: &mut super::interpret::Needs, from: &super::interpret::Needs) {
    into.now |= from.now;
    into.query.extend(from.query.iter().cloned());
    into.headers.extend(from.headers.iter().cloned());
}

fn typed(expression: &IdedExpr, walk: &mut Walk<'_>) -> Option<Predicate> {
    match &expression.expr {
        Expr::Select(select) if select.test => has(walk.reference(expression)?),
        Expr::Ident(_) | Expr::Select(_) => {
            let operand = operand(expression, walk)?;
            if let Some(kind) = operand.kind() {
                let message = format!("`{}` is {kind}, not true or false", operand.describe());
                walk.problem(expression.id, message, None);
            }
            Some(Predicate::Truth(operand))
        }
        Expr::Call(call) if call.func_name == operators::INDEX => Some(Predicate::Truth(operand(expression, walk)?)),
        Expr::Call(call) => typed_call(expression, call, walk),
        _ => None,
    }
}

fn has(reference: Reference) -> Option<Predicate> {
    match reference {
        Reference::Argument(path) => Some(Predicate::Has(Operand::Argument(path))),
        Reference::Query(Some(name)) => Some(Predicate::Has(Operand::Query(name))),
        Reference::Header(Some(name)) => Some(Predicate::Has(Operand::Header(name))),
        Reference::Query(None)
        | Reference::Header(None)
        | Reference::Variable(_)
        | Reference::Now
        | Reference::Local => None,
    }
}

fn typed_call(expression: &IdedExpr, call: &CallExpr, walk: &mut Walk<'_>) -> Option<Predicate> {
    let name = call.func_name.as_str();
    if let Some(comparison) = comparison(name) {
        let [left, right] = call.args.as_slice() else { return None };
        let (left, right) = (operand(left, walk)?, operand(right, walk)?);
        check_kinds(expression, walk, &left, &right, comparison);
        return Some(Predicate::Compare(comparison, left, right));
    }
    if name == operators::IN {
        let [wanted, container] = call.args.as_slice() else { return None };
        return membership(expression, wanted, container, walk);
    }
    let test = match name {
        "startsWith" => TextTest::StartsWith,
        "endsWith" => TextTest::EndsWith,
        "contains" => TextTest::Contains,
        "matches" => {
            let (subject, pattern) = receiver_and_argument(call)?;
            let pattern = compile_pattern(text_literal(pattern)?).ok()?;
            return Some(Predicate::Matches(operand(subject, walk)?, pattern));
        }
        _ => return None,
    };
    let (subject, part) = receiver_and_argument(call)?;
    call.target.as_ref()?;
    let (subject, part) = (operand(subject, walk)?, operand(part, walk)?);
    for side in [&subject, &part] {
        if let Some(kind) = side.kind()
            && kind != "text"
        {
            walk.problem(expression.id, format!("`{name}` works on text, and `{}` is {kind}", side.describe()), None);
        }
    }
    Some(Predicate::Text(test, subject, part))
}

/// `"x" in query`, `agent in ["a", "b"]`, `agent in args.list`.
fn membership(
    expression: &IdedExpr,
    wanted: &IdedExpr,
    container: &IdedExpr,
    walk: &mut Walk<'_>,
) -> Option<Predicate> {
    if let Expr::List(list) = &container.expr {
        let wanted = operand(wanted, walk)?;
        let literals: Option<Vec<Literal>> = list.elements.iter().map(literal).collect();
        let literals = literals?;
        for each in &literals {
            check_kinds(expression, walk, &wanted, &Operand::Literal(each.clone()), Comparison::Equal);
        }
        return Some(Predicate::InList(wanted, literals));
    }
    match (walk.reference(container)?, text_literal(wanted)) {
        (Reference::Query(None), Some(name)) => Some(Predicate::Has(Operand::Query(name.into()))),
        (Reference::Header(None), Some(name)) => Some(Predicate::Has(Operand::Header(name.into()))),
        (Reference::Argument(path), _) => Some(Predicate::InValue(operand(wanted, walk)?, Operand::Argument(path))),
        _ => None,
    }
}

fn receiver_and_argument(call: &CallExpr) -> Option<(&IdedExpr, &IdedExpr)> {
    match (call.target.as_deref(), call.args.as_slice()) {
        (Some(receiver), [argument]) | (None, [receiver, argument]) => Some((receiver, argument)),
        _ => None,
    }
}

fn check_kinds(expression: &IdedExpr, walk: &mut Walk<'_>, left: &Operand, right: &Operand, comparison: Comparison) {
    let (Some(left_kind), Some(right_kind)) = (left.kind(), right.kind()) else { return };
    if left_kind == right_kind {
        return;
    }
    let never = match comparison {
        Comparison::Equal | Comparison::NotEqual => "are never equal",
        _ => "have no order",
    };
    let (left, right) = (left.describe(), right.describe());
    let message = format!("`{left}` is {left_kind} and `{right}` is {right_kind}: they {never}");
    let hint = match (left_kind, right_kind) {
        ("text", "a number") => Some("compare text with quoted text, or convert it with `int(…)`".to_owned()),
        _ => None,
    };
    walk.problem(expression.id, message, hint);
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn operand(expression: &IdedExpr, walk: &Walk<'_>) -> Option<Operand> {
    if let Some(literal) = literal(expression) {
        return Some(Operand::Literal(literal));
    }
    if let Expr::Call(call) = &expression.expr
        && call.func_name == "size"
    {
        let of = match (call.target.as_deref(), call.args.as_slice()) {
            (Some(of), []) | (None, [of]) => of,
            _ => return None,
        };
        return operand(of, walk).map(|of| Operand::Size(Box::new(of)));
    }
    if matches!(&expression.expr, Expr::Select(select) if select.test) {
        return None;
    }
    match walk.reference(expression)? {
        Reference::Variable(variable) => Some(Operand::Variable(variable)),
        Reference::Argument(path) => Some(Operand::Argument(path)),
        Reference::Query(Some(name)) => Some(Operand::Query(name)),
        Reference::Header(Some(name)) => Some(Operand::Header(name)),
        Reference::Query(None) | Reference::Header(None) | Reference::Now | Reference::Local => None,
    }
}

fn literal(expression: &IdedExpr) -> Option<Literal> {
    match &expression.expr {
        Expr::Literal(literal) => Some(match literal {
            LiteralValue::Null => Literal::Null,
            LiteralValue::Boolean(value) => Literal::Bool(*value.inner()),
            LiteralValue::Int(value) => Literal::Number(Number::from_checked(value.inner().to_string())),
            LiteralValue::UInt(value) => Literal::Number(Number::from_checked(value.inner().to_string())),
            LiteralValue::Double(value) if value.inner().is_finite() => {
                Literal::Number(Number::from_checked(format!("{:?}", value.inner())))
            }
            LiteralValue::String(text) => Literal::Text(text.inner().into()),
            LiteralValue::Double(_) | LiteralValue::Bytes(_) => return None,
        }),
        _ => None,
    }
}

/// What an expression is, when it can never be a truth value.
fn never_bool(expression: &IdedExpr) -> Option<&'static str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::Boolean(_)) => None,
        Expr::Literal(_) => Some("a literal"),
        Expr::List(_) => Some("a list"),
        Expr::Call(call) => match call.func_name.as_str() {
            operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::NEGATE
            | "size"
            | "int"
            | "uint"
            | "double" => Some("a number"),
            "string" => Some("text"),
            "timestamp" | "duration" => Some("a time"),
            _ => None,
        },
        _ => None,
    }
}
