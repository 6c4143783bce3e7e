//! Sets: `setintersection setproduct setunion`.

use super::{Call, Function, MANY, Outcome, function};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("setintersection", 1, MANY, setintersection),
    function("setproduct", 1, MANY, setproduct),
    function("setunion", 1, MANY, setunion),
];

fn setintersection(call: &mut Call<'_>) -> Outcome {
    let mut common = call.list(0)?;
    for index in 1..call.count() {
        let Value::Set(other) = Value::set(call.list(index)?) else { continue };
        common.retain(|value| other.binary_search(value).is_ok());
    }
    Ok(Value::set(common))
}

fn setunion(call: &mut Call<'_>) -> Outcome {
    let mut all = Vec::new();
    for index in 0..call.count() {
        all.append(&mut call.list(index)?);
    }
    Ok(Value::set(all))
}

/// All combinations of one element of each; a set if all arguments are sets, else a list.
fn setproduct(call: &mut Call<'_>) -> Outcome {
    let all_sets = (0..call.count()).all(|index| matches!(call.peek(index), Value::Set(_)));
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for index in 0..call.count() {
        let elements = call.list(index)?;
        let weight: usize = rows.iter().flatten().chain(&elements).map(Value::weight).sum();
        call.charge(
            weight
                .saturating_mul(elements.len().max(1))
                .max(rows.len().saturating_mul(elements.len()).saturating_mul(64)),
        )?;
        rows = rows
            .iter()
            .flat_map(|row| {
                elements.iter().map(|element| {
                    let mut longer = row.clone();
                    longer.push(element.clone());
                    longer
                })
            })
            .collect();
    }
    let rows = rows.into_iter().map(Value::List).collect();
    Ok(if all_sets { Value::set(rows) } else { Value::List(rows) })
}
