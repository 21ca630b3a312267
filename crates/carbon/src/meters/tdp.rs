//! Rated power of processors by name: a table that is compiled in (`data/README.md`).

const TABLE: &str = include_str!("../../data/cpu_power.csv");

/// Words that processors' names have and the table's have not, or not always.
const NOISE: [&str; 4] = ["cpu", "processor", "r", "tm"];

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Match {
    /// The table's name.
    pub name: &'static str,
    /// Rated power of one socket, in W.
    pub tdp_w: f64,
}

/// The processor that `/proc/cpuinfo` calls `model`: the row of the same name; else the row whose words are all in the
/// name and that has the most of them, if its power is not in doubt.
pub(crate) fn find(model: &str) -> Option<Match> {
    let wanted = words(model);
    if wanted.is_empty() {
        return None;
    }
    let mut best: Option<(usize, Match)> = None;
    let mut is_in_doubt = false;
    for row in rows() {
        let words = words(row.name);
        if words.len() == wanted.len()
            && words.iter().zip(&wanted).all(|(word, wanted)| is_same(word, wanted))
        {
            return Some(row);
        }
        // A brand alone, or a number alone, is no name.
        let is_name =
            words.len() > 1 && words.iter().any(|word| word.bytes().any(|byte| byte.is_ascii_digit()));
        if !is_name || !words.iter().all(|word| wanted.iter().any(|wanted| is_same(word, wanted))) {
            continue;
        }
        match best {
            Some((most, _)) if words.len() < most => {}
            Some((most, known)) if words.len() == most => {
                is_in_doubt |= known.tdp_w.total_cmp(&row.tdp_w).is_ne();
            }
            _ => (best, is_in_doubt) = (Some((words.len(), row)), false),
        }
    }
    best.map(|(_, row)| row).filter(|_| !is_in_doubt)
}

/// Every row; a line that does not parse is a defect of the table, which the tests count.
fn rows() -> impl Iterator<Item = Match> {
    TABLE.lines().filter_map(|line| {
        let (name, tdp_w) = line.rsplit_once(',')?;
        Some(Match { name, tdp_w: tdp_w.parse().ok()? })
    })
}

/// The words of a name that tell processors apart, without its frequency.
fn words(name: &str) -> Vec<&str> {
    let name = name.split('@').next().unwrap_or_default();
    name.split(|letter: char| !letter.is_alphanumeric() && !"-.+".contains(letter))
        .filter(|word| !word.is_empty() && !NOISE.iter().any(|noise| is_same(noise, word)))
        .filter(|word| !ends_with(word, "-core") && !ends_with(word, "ghz"))
        .collect()
}

fn is_same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn ends_with(word: &str, end: &str) -> bool {
    let (word, end) = (word.as_bytes(), end.as_bytes());
    word.len() >= end.len() && word[word.len() - end.len()..].eq_ignore_ascii_case(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(rows().count(), lines - 1);
        assert!(rows().count() > 4000);
        for row in rows() {
            assert!(row.tdp_w > 0.0 && row.tdp_w < 1000.0, "{row:?}");
        }
    }

    #[test]
    fn names_as_kernels_write_them_are_found() {
        for (model, name) in [
            ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763"),
            ("Intel(R) Xeon(R) CPU E5-2620 v4 @ 2.10GHz", "Intel Xeon E5-2620 v4"),
            ("Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz", "Intel Core i7-8700K"),
            ("AMD Ryzen 7 5800X 8-Core Processor", "AMD Ryzen 7 5800X"),
        ] {
            assert_eq!(find(model).map(|row| row.name), Some(name), "{model}");
        }
    }

    #[test]
    fn what_is_no_processor_of_the_table_is_not_guessed() {
        for model in ["", "AMD EPYC", "Intel Xeon Processor @ 2.20GHz", "Imaginary 9000", "3260"] {
            assert_eq!(find(model), None, "{model}");
        }
    }
}
