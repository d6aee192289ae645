//! Nothing that is withheld can be computed from what is shown: for each withheld count another table is found that shows
//! the same, by a search that knows nothing of how the withheld ones are chosen, and is then checked sum by sum.

use proptest::prelude::*;

use super::super::Disposition;
use super::super::report::{Counts, Report, Row};
use super::Figure as F;
use super::*;

/// The rows and then their total, each with its four buckets and their sum.
type Numbers = Vec<[i64; COLUMNS]>;
/// Which of the numbers are withheld.
type Marks = Vec<[bool; COLUMNS]>;

const BY_COLUMN: [Figure; COLUMNS] =
    [Figure::Closed, Figure::NotInBreach, Figure::Undecided, Figure::Other, Figure::Referred];

fn row(buckets: [i64; 4]) -> Row {
    let mut counts = Counts::default();
    let dispositions =
        [Disposition::Closed, Disposition::NotViolating, Disposition::Submitted, Disposition::AlreadyGone];
    for (disposition, count) in dispositions.into_iter().zip(buckets) {
        counts.add(disposition, count, count);
    }
    Row { counts, ..Row::default() }
}

fn table(rows: &[[i64; 4]]) -> Report {
    let sum = |column: usize| rows.iter().map(|row| row[column]).sum();
    Report { rows: rows.iter().map(|buckets| row(*buckets)).collect(), total: row([0, 1, 2, 3].map(sum)) }
}

fn numbers(report: &Report) -> Numbers {
    report.rows.iter().chain([&report.total]).map(|row| Line::new(row).counts).collect()
}

fn marks(withheld: &Withheld) -> Marks {
    let of = |figures: &Vec<Figure>| BY_COLUMN.map(|figure| figures.contains(&figure));
    withheld.rows.iter().chain([&withheld.total]).map(of).collect()
}

/// Whether a table adds up, has no withheld number below 1 (a nought would have been shown), and shows the same.
fn shows_the_same(other: &Numbers, numbers: &Numbers, marks: &Marks) -> bool {
    let (total, rows) = other.split_last().unwrap();
    let adds_up = other.iter().all(|row| row[..SUM].iter().sum::<i64>() == row[SUM])
        && (0..COLUMNS).all(|column| rows.iter().map(|row| row[column]).sum::<i64>() == total[column]);
    adds_up
        && (0..numbers.len()).all(|row| {
            (0..COLUMNS).all(|column| {
                let (other, number) = (other[row][column], numbers[row][column]);
                if marks[row][column] { other >= 1 } else { other == number }
            })
        })
}

/// Moves one number by one, and others with it, until all sums are right again: along a way through rows and columns.
fn moved(numbers: &Numbers, marks: &Marks, (row, column): (usize, usize), by: i64) -> Option<Numbers> {
    // In a row the sum, and in a column the total, count against the others.
    let sign = |row: usize, column: usize| {
        (if column == SUM { -1 } else { 1 }) * (if row + 1 == numbers.len() { -1 } else { 1 })
    };
    let change = |numbers: &mut Numbers, row: usize, column: usize, amount: i64| {
        numbers[row][column] += amount * sign(row, column);
        marks[row][column] && numbers[row][column] >= 1
    };
    let mut start = numbers.clone();
    let amount = by * sign(row, column);
    if !change(&mut start, row, column, amount) {
        return None;
    }
    // Each way: the numbers so far, the column that is out of balance, and the columns that were visited.
    let mut ways = vec![(start, column, vec![column])];
    while let Some((numbers, at, visited)) = ways.pop() {
        for next in (0..numbers.len()).filter(|next| !(at == column && *next == row)) {
            let mut balanced = numbers.clone();
            if !change(&mut balanced, next, at, -amount) {
                continue;
            }
            if next == row {
                return Some(balanced);
            }
            for to in (0..COLUMNS).filter(|to| !visited.contains(to)) {
                let mut further = balanced.clone();
                if change(&mut further, next, to, amount) {
                    ways.push((further, to, [visited.as_slice(), &[to]].concat()));
                }
            }
        }
    }
    None
}

/// A table that shows the same, in which the number differs by as much as asked for; the furthest one found if there is none.
fn another(numbers: &Numbers, marks: &Marks, at: (usize, usize), by: i64) -> Numbers {
    let mut found = numbers.clone();
    while (found[at.0][at.1] - numbers[at.0][at.1]).abs() < by.abs() {
        match moved(&found, marks, at, by.signum()) {
            Some(next) => found = next,
            None => break,
        }
    }
    found
}

/// Why a report gives away what it withholds; empty if it does not.
fn given_away(report: &Report, minimum: u32) -> Vec<String> {
    let (numbers, marks) = (numbers(report), marks(&withheld(report, minimum, false)));
    let minimum = i64::from(minimum);
    let mut found = Vec::new();
    for row in 0..numbers.len() {
        for column in 0..COLUMNS {
            let number = numbers[row][column];
            if !marks[row][column] {
                if is_small(number, minimum) {
                    found.push(format!("{row}.{column} is shown"));
                }
                continue;
            }
            let higher = another(&numbers, &marks, (row, column), (minimum - number).max(1));
            let lower = another(&numbers, &marks, (row, column), -1);
            for other in [&higher, &lower] {
                assert!(shows_the_same(other, &numbers, &marks), "the search is wrong: {numbers:?} {other:?}");
            }
            let (high, low) = (higher[row][column], lower[row][column]);
            if high == low {
                found.push(format!("{row}.{column} is exactly {number}"));
            } else if number < minimum && high < minimum {
                found.push(format!("{row}.{column} is at most {high}"));
            }
        }
    }
    found
}

fn counts() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 4 => 1..6_i64, 3 => 3..12_i64, 2 => 10..60_i64]
}

fn tables() -> impl Strategy<Value = Vec<[i64; 4]>> {
    // Also rows with one bucket alone, as a report by disposition has them.
    let one = (0..4_usize, counts()).prop_map(|(column, count)| {
        let mut row = [0; 4];
        row[column] = count;
        row
    });
    let row = prop_oneof![2 => [counts(), counts(), counts(), counts()], 1 => one];
    prop::collection::vec(row.prop_filter("a row has referrals", |row| row.iter().sum::<i64>() > 0), 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn nothing_withheld_can_be_computed(rows in tables(), minimum in 2..7_u32) {
        let report = table(&rows);
        prop_assert_eq!(given_away(&report, minimum), Vec::<String>::new());
        // Nothing is withheld that need not be: where nothing is small, nothing is; and a nought never is.
        let (numbers, marks) = (numbers(&report), marks(&withheld(&report, minimum, false)));
        let small = numbers.iter().flatten().any(|number| is_small(*number, minimum.into()));
        prop_assert_eq!(marks.iter().flatten().any(|mark| *mark), small);
        let noughts = numbers.iter().flatten().zip(marks.iter().flatten()).filter(|(number, _)| **number == 0);
        prop_assert!(noughts.into_iter().all(|(_, mark)| !mark));
    }

    /// Without a dimension the one row is the total.
    #[test]
    fn a_total_alone_gives_nothing_away(row in [counts(), counts(), counts(), counts()], minimum in 2..7_u32) {
        prop_assert_eq!(given_away(&table(&[row]), minimum), Vec::<String>::new());
    }
}

/// The search finds what is given away: a table in which the small counts alone are withheld.
#[test]
fn the_search_can_fail() {
    let numbers = numbers(&table(&[[20, 3, 30, 0], [40, 10, 9, 0]]));
    let mut marks = vec![[false; COLUMNS]; 3];
    marks[0][1] = true;
    assert_eq!(moved(&numbers, &marks, (0, 1), 1), None);
    marks[0][2] = true;
    assert_eq!(moved(&numbers, &marks, (0, 1), 1), None, "the columns still tell");
    (marks[1][1], marks[1][2]) = (true, true);
    let other = moved(&numbers, &marks, (0, 1), 1).unwrap();
    assert_eq!(other[..2], [[20, 4, 29, 0, 53], [40, 9, 10, 0, 59]]);
    assert!(shows_the_same(&other, &numbers, &marks));
}

fn hidden(rows: &[[i64; 4]], minimum: u32) -> Vec<String> {
    let marks = marks(&withheld(&table(rows), minimum, false));
    marks.iter().map(|row| row.iter().map(|mark| if *mark { 'x' } else { '.' }).collect()).collect()
}

#[test]
fn as_little_is_withheld_as_it_takes() {
    // The small count, what balances it in its row, and the same of the smallest row that can give.
    let cohort = [[98, 87, 30, 3], [322, 290, 90, 9], [158, 108, 35, 8]];
    assert_eq!(hidden(&cohort, 5), ["..xx.", ".....", "..xx.", "....."]);
    // No row can give: the total does.
    assert_eq!(hidden(&[[98, 87, 30, 3], [322, 290, 90, 0]], 5), ["..xx.", ".....", "..xx."]);
    // A row that is small as a whole, and another one.
    assert_eq!(hidden(&[[2, 0, 0, 0], [20, 30, 0, 0], [40, 9, 0, 0]], 5), ["x...x", ".....", "x...x", "....."]);
    // By disposition: each row has one bucket, so that the total gives in these and keeps its sum.
    let by_disposition = [[3, 0, 0, 0], [0, 400, 0, 0], [0, 0, 155, 0]];
    assert_eq!(hidden(&by_disposition, 5), ["x...x", ".....", "..x.x", "x.x.."]);
    // All of it is small.
    assert_eq!(hidden(&[[1, 0, 1, 0], [0, 2, 0, 0]], 5), ["x.x.x", ".x..x", "xxx.x"]);
    // Each is one, and the sum would tell.
    assert_eq!(hidden(&[[1, 0, 0, 0]; 6], 5).last().map(String::as_str), Some("x...x"));
    assert_eq!(hidden(&[[50, 60, 70, 0]], 5), [".....", "....."]);
    assert_eq!(hidden(&[], 5), ["....."]);
}

#[test]
fn medians_need_the_minimum_on_either_side_and_ages_nothing_withheld() {
    let of = |buckets: [i64; 4]| withheld(&table(&[buckets]), 5, false).rows.remove(0);
    let shown = |buckets| {
        let withheld = of(buckets);
        Figure::ALL.into_iter().filter(|figure| !withheld.contains(figure)).skip(5).collect::<Vec<_>>()
    };
    let all = [
        F::UndecidedAgeP50Days,
        F::UndecidedAgeP90Days,
        F::DecisionTimesN,
        F::DecidedOnlyMedianDays,
        F::DecidedOnlyP90Days,
        F::CensoredMedianDays,
        F::CensoredP90Days,
    ];
    assert_eq!(shown([30, 20, 50, 0]), all);
    assert_eq!(shown([5, 5, 10, 0]), [all[0], all[2], all[3], all[5]]);
    assert_eq!(shown([9, 0, 9, 0]), [all[2], all[5]]);
    assert_eq!(shown([30, 19, 49, 0]), [all[0], all[2], all[3], all[5], all[6]]);
    // With a count withheld, no other figure but the number of referrals.
    assert_eq!(of([300, 200, 500, 3]).len(), 17 - 4, "referred, closed, undecided and n are shown");

    let aged = |buckets: [u64; 5], row: [i64; 4], by_cohort| {
        let mut report = table(&[row]);
        report.total.ages.buckets = buckets;
        let withheld = withheld(&report, 5, by_cohort);
        assert!(withheld.rows[0].contains(&F::UndecidedAges), "in the total alone");
        !withheld.total.contains(&F::UndecidedAges)
    };
    let row = [30, 20, 50, 0];
    assert!(aged([0, 45, 5, 0, 0], row, false));
    assert!(!aged([0, 46, 4, 0, 0], row, false), "one is small");
    assert!(!aged([0, 45, 5, 0, 0], row, true), "they follow from the days");
    assert!(!aged([0, 45, 5, 0, 0], [30, 20, 50, 4], false), "a count is withheld");
}
