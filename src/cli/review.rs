//! `studbook review`: who is ranked where, and which differences are more than chance.

use std::io::Write;

use super::args::{Args, Format, Planned};
use super::context::{Terminal, load};
use super::exit::{Exit, UsageError};
use crate::base::name::Name;
use crate::base::wording::count;
use crate::engine::preview::preview;
use crate::engine::retired::{self, retired};
use crate::record;
use crate::record::review::PopulationReview;
use crate::record::significance::{LEVEL, PairedTest, Significance};
use crate::report::table::Table;
use crate::stage::Kind;

pub(super) fn run(args: &Args, command: &Planned, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = load(args, &command.plan)?;
    let preview = preview(&loaded.graph, &loaded.store)?;
    let stage = loaded.graph.find(&format!("{}:{}", Kind::Review.name(), loaded.plan.cycle.name));
    let made = stage.and_then(|index| preview.results[index.index()].as_ref());
    let Some(blob) = made.and_then(|made| made.record()) else {
        let error = UsageError::new(format!("the cycle `{}` was not reviewed yet", loaded.plan.cycle.name));
        return Err(error.hint(format!("run it first: studbook run {}", loaded.typed)).into());
    };
    let review: PopulationReview = record::from_bytes(&loaded.store.read(&blob.digest)?)?;
    if command.format == Format::Json {
        terminal.json(&review)?;
        return Ok(Exit::Complete);
    }
    let mut out = terminal.out();
    write!(out, "{}", ranking(&review))?;
    for (name, why) in &review.unranked {
        writeln!(out, "{name}: {why}")?;
    }
    for member in &review.members {
        if let Some(entry) = retired(&loaded.graph, &loaded.store, &preview.results, &member.name) {
            writeln!(out, "{}: {}", member.name, retired::told(entry))?;
        }
    }
    write!(out, "{}", differences(&review.significance))?;
    Ok(Exit::Complete)
}

/// Everybody in the order of the review.
fn ranking(review: &PopulationReview) -> String {
    let names: Vec<&str> = review.objectives.iter().map(|objective| objective.name.as_str()).collect();
    let mut table = Table::new(&[&["model", "kind", "front", "novelty"][..], &names].concat());
    for member in &review.members {
        let mut cells = vec![
            member.name.to_string(),
            member.kind.clone(),
            member.rank.to_string(),
            member.novelty.map_or_else(|| "-".to_owned(), |novelty| format!("{novelty:.2}")),
        ];
        cells.extend(names.iter().map(|name| member.vector.get(*name).map_or("-".to_owned(), number)));
        table.row(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    table.render()
}

fn number(value: &f64) -> String {
    if value.fract() == 0.0 && value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// A table for each suite: by how much the model of the row is better than that of the column.
fn differences(significance: &Significance) -> String {
    let mut text = String::new();
    let mut objectives: Vec<&str> = Vec::new();
    for pair in &significance.pairs {
        if !objectives.contains(&pair.objective.as_str()) {
            objectives.push(&pair.objective);
        }
    }
    for objective in &objectives {
        let of = |pair: &&PairedTest| pair.objective == *objective;
        text += &format!("\nBetter than, on {objective}:\n{}", matrix(significance, of));
    }
    if !objectives.is_empty() {
        text += &format!(
            "\n* is more than chance: p <= {LEVEL} after Holm over {}\n",
            count(significance.family as usize, "test")
        );
    }
    text
}

fn matrix(significance: &Significance, of: impl Fn(&&PairedTest) -> bool) -> String {
    let names: Vec<&str> = significance.compared.iter().map(Name::as_str).collect();
    let mut table = Table::new(&[&[""], names.as_slice()].concat());
    for row in &names {
        let cell = |column: &&str| {
            let mut pairs = significance.pairs.iter().filter(&of);
            let found = pairs.find_map(|pair| match (pair.one.as_str(), pair.other.as_str()) {
                (one, other) if one == *row && other == *column => Some((pair.effect, pair)),
                (one, other) if one == *column && other == *row => Some((-pair.effect, pair)),
                _ => None,
            });
            found.map_or_else(String::new, |(effect, pair)| {
                format!("{effect:+.3}{}", if pair.is_sure() { "*" } else { "" })
            })
        };
        let cells: Vec<String> = names.iter().map(cell).collect();
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        table.row(&[&[*row], cells.as_slice()].concat());
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_stands_on_both_sides_of_the_diagonal() {
        let name = |name: &str| name.parse().unwrap();
        let pair = PairedTest {
            objective: "add".to_owned(),
            one: name("a"),
            other: name("b"),
            effect: 0.25,
            p: 0.001,
            p_adjusted: 0.001,
            n: 40,
            method: "exact McNemar".to_owned(),
        };
        let text =
            differences(&Significance { compared: vec![name("a"), name("b")], family: 1, pairs: vec![pair] });
        assert_eq!(
            text,
            "\nBetter than, on add:\n   a        b\na           +0.250*\nb  -0.250*\n\n\
             * is more than chance: p <= 0.05 after Holm over 1 test\n"
        );
    }
}
