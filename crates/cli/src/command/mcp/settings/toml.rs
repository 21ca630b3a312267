//! Settings in TOML.

use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, value};

use super::{Slot, Unusable};

pub fn parse(text: &str) -> Result<Value, Unusable> {
    toml_edit::de::from_document(document(text)?).map_err(|error| Unusable::Damaged(error.to_string()))
}

pub fn write(text: &str, slot: Slot<'_>, entry: &Map<String, Value>) -> Result<String, Unusable> {
    let mut document = document(text)?;
    let mut servers: &mut dyn TableLike = document.as_table_mut();
    let mut is_inline = false;
    for (depth, key) in slot.client.keys.iter().enumerate() {
        let implicit = || {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        };
        let next = servers.entry(key).or_insert_with(implicit);
        is_inline = next.is_inline_table();
        servers = next.as_table_like_mut().ok_or_else(|| slot.no_servers(depth))?;
    }
    let empty = || if is_inline { value(InlineTable::new()) } else { Item::Table(Table::new()) };
    let there = servers.entry(slot.name).or_insert_with(empty);
    let there = there.as_table_like_mut().ok_or(Unusable::NotKept)?;
    for (key, wanted) in entry {
        let item = item(wanted).ok_or(Unusable::NotKept)?;
        match there.get_mut(key) {
            // What stands beside a value, such as a comment, stays.
            Some(former) if former.is_value() => {
                let decor = former.as_value().map(|value| value.decor().clone());
                *former = item;
                if let (Some(value), Some(decor)) = (former.as_value_mut(), decor) {
                    *value.decor_mut() = decor;
                }
            }
            _ => drop(there.insert(key, item)),
        }
    }
    Ok(document.to_string())
}

pub fn remove(text: &str, slot: Slot<'_>) -> Result<String, Unusable> {
    let mut document = document(text)?;
    let mut servers: Option<&mut dyn TableLike> = Some(document.as_table_mut());
    for key in slot.client.keys {
        servers = servers.and_then(|table| table.get_mut(key)).and_then(Item::as_table_like_mut);
    }
    if let Some(servers) = servers {
        servers.remove(slot.name);
    }
    Ok(document.to_string())
}

fn item(wanted: &Value) -> Option<Item> {
    Some(match wanted {
        Value::String(text) => value(text),
        Value::Bool(flag) => value(*flag),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            value(texts?.into_iter().collect::<Array>())
        }
        _ => return None,
    })
}

fn document(text: &str) -> Result<DocumentMut, Unusable> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map(|line| format!(" on line {line}")).unwrap_or_default();
        Unusable::Damaged(format!("{}{place}", error.message().replace('\n', ", ")))
    })
}
