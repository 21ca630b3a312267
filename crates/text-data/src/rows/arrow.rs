//! A value of an Arrow array as JSON.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use polars_arrow::{
    array::{
        Array, BinaryViewArray, BooleanArray, FixedSizeListArray, ListArray, MapArray, PrimitiveArray,
        StructArray, Utf8ViewArray,
    },
    datatypes::{ArrowDataType, Field, TimeUnit},
    types::NativeType,
};
use serde_json::{Map, Value};

/// What the values of a record may still take.
pub(super) struct Room {
    pub(super) bytes: usize,
    pub(super) values: usize,
}

/// More than there is [`Room`] for.
pub(super) struct NoRoom;

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(NoRoom)?;
        self.values = self.values.checked_sub(1).ok_or(NoRoom)?;
        Ok(())
    }
}

/// The value at `row`, which must lie within the array. Dates and times are texts in ISO 8601; what JSON has no form
/// for (bytes that are no text, intervals) is null.
pub(super) fn json(array: &dyn Array, row: usize, room: &mut Room) -> Result<Value, NoRoom> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    room.take(text(array, row).map_or(0, <[u8]>::len))?;
    match nested(array, row, room)? {
        Some(value) => Ok(value),
        None => Ok(single(array, row).unwrap_or(Value::Null)),
    }
}

/// The bytes of a text.
fn text(array: &dyn Array, row: usize) -> Option<&[u8]> {
    match array.dtype() {
        ArrowDataType::Utf8View => Some(of::<Utf8ViewArray>(array)?.value(row).as_bytes()),
        ArrowDataType::BinaryView => Some(of::<BinaryViewArray>(array)?.value(row)),
        _ => None,
    }
}

/// A list or an object; nothing for another value.
fn nested(array: &dyn Array, row: usize, room: &mut Room) -> Result<Option<Value>, NoRoom> {
    let items = match array.dtype() {
        ArrowDataType::LargeList(_) => of::<ListArray<i64>>(array).map(|array| array.value(row)),
        ArrowDataType::List(_) => of::<ListArray<i32>>(array).map(|array| array.value(row)),
        ArrowDataType::FixedSizeList(..) => of::<FixedSizeListArray>(array).map(|array| array.value(row)),
        ArrowDataType::Map(..) => of::<MapArray>(array).map(|array| array.value(row)),
        ArrowDataType::Struct(_) => {
            let Some(array) = of::<StructArray>(array) else { return Ok(None) };
            let fields = array.fields().iter().zip(array.values());
            let mut of_field =
                |field: &Field, values: &dyn Array| Ok((field.name.to_string(), json(values, row, room)?));
            let fields = fields.map(|(field, values)| of_field(field, values.as_ref()));
            return fields.collect::<Result<Map<_, _>, _>>().map(Value::Object).map(Some);
        }
        _ => None,
    };
    let Some(items) = items else { return Ok(None) };
    (0..items.len()).map(|row| json(items.as_ref(), row, room)).collect::<Result<Value, _>>().map(Some)
}

fn single(array: &dyn Array, row: usize) -> Option<Value> {
    Some(match array.dtype() {
        ArrowDataType::Utf8View => Value::from(of::<Utf8ViewArray>(array)?.value(row)),
        ArrowDataType::BinaryView => {
            Value::from(str::from_utf8(of::<BinaryViewArray>(array)?.value(row)).ok()?)
        }
        ArrowDataType::Boolean => Value::from(of::<BooleanArray>(array)?.value(row)),
        ArrowDataType::Int8 => Value::from(number::<i8>(array, row)?),
        ArrowDataType::Int16 => Value::from(number::<i16>(array, row)?),
        ArrowDataType::Int32 => Value::from(number::<i32>(array, row)?),
        ArrowDataType::Int64 => Value::from(number::<i64>(array, row)?),
        ArrowDataType::UInt8 => Value::from(number::<u8>(array, row)?),
        ArrowDataType::UInt16 => Value::from(number::<u16>(array, row)?),
        ArrowDataType::UInt32 => Value::from(number::<u32>(array, row)?),
        ArrowDataType::UInt64 => Value::from(number::<u64>(array, row)?),
        ArrowDataType::Float32 => Value::from(as_written(number::<f32>(array, row)?)),
        ArrowDataType::Float64 => Value::from(number::<f64>(array, row)?),
        ArrowDataType::Decimal(_, scale) => Value::from(decimal(number::<i128>(array, row)?, *scale)),
        ArrowDataType::Date32 => Value::from(date(number::<i32>(array, row)?)?),
        ArrowDataType::Timestamp(unit, zone) => {
            Value::from(moment(number::<i64>(array, row)?, *unit, zone.is_some())?)
        }
        _ => return None,
    })
}

fn of<T: 'static>(array: &dyn Array) -> Option<&T> {
    array.as_any().downcast_ref()
}

fn number<T: NativeType>(array: &dyn Array, row: usize) -> Option<T> {
    of::<PrimitiveArray<T>>(array).map(|array| array.value(row))
}

/// The number that somebody wrote: 0.7 became its nearest neighbour of 32 bits, which is less than 0.7.
fn as_written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// A decimal number as a text, since a float would round it.
fn decimal(value: i128, scale: usize) -> String {
    if scale == 0 {
        return value.to_string();
    }
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if value < 0 { "-" } else { "" })
}

fn date(days: i32) -> Option<String> {
    let days = SignedDuration::from_hours(i64::from(days) * 24);
    Some(Date::constant(1970, 1, 1).checked_add(days).ok()?.to_string())
}

fn moment(value: i64, unit: TimeUnit, has_zone: bool) -> Option<String> {
    let at = match unit {
        TimeUnit::Second => Timestamp::from_second(value),
        TimeUnit::Millisecond => Timestamp::from_millisecond(value),
        TimeUnit::Microsecond => Timestamp::from_microsecond(value),
        TimeUnit::Nanosecond => Timestamp::from_nanosecond(i128::from(value)),
    };
    let at = at.ok()?;
    // A moment without a zone is what a clock showed, wherever that was.
    Some(if has_zone { at.to_string() } else { at.to_zoned(TimeZone::UTC).datetime().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_dates_and_moments() {
        assert_eq!([decimal(12345, 2), decimal(-5, 2), decimal(7, 0)], ["123.45", "-0.05", "7"]);
        assert_eq!(date(20_780).as_deref(), Some("2026-11-23"));
        assert_eq!(date(-1).as_deref(), Some("1969-12-31"));
        assert_eq!(moment(1_500, TimeUnit::Millisecond, true).as_deref(), Some("1970-01-01T00:00:01.5Z"));
        assert_eq!(moment(1_500, TimeUnit::Millisecond, false).as_deref(), Some("1970-01-01T00:00:01.5"));
        assert_eq!(moment(i64::MAX, TimeUnit::Second, true), None);
    }
}
