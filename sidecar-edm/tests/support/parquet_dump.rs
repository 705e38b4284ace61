//! Files as the dump of the recorded ones has them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Map, Value as Json};

use super::reader::{Cell, File, Thrift};

/// What the dump says of a recorded file.
pub fn dump(name: &str) -> Json {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tapir-wire/vectors/edm/parquet/expected.json");
    let all: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    all["files"][name].clone()
}

/// Rows under the recorded columns.
pub fn rows(read: &File, recorded: &Json) -> Vec<Json> {
    let columns = recorded["columns"].as_array().unwrap();
    let named = |row: &Vec<Cell>| {
        assert_eq!(row.len(), columns.len());
        let named =
            columns.iter().zip(row).map(|(column, cell)| (column["name"].as_str().unwrap().to_owned(), as_json(cell, column)));
        named.collect::<Map<_, _>>().into()
    };
    read.rows.iter().map(named).collect()
}

/// The columns of a file.
pub fn schema(read: &File) -> Vec<Json> {
    read.footer.at(2).list()[1..].iter().map(described).collect()
}

/// The columns of a recorded one, as far as [`schema`] tells them.
pub fn recorded_schema(recorded: &Json) -> Vec<Json> {
    let members = ["name", "physical", "logical", "converted", "optional", "codec"];
    let column =
        |column: &Json| members.iter().map(|member| ((*member).to_owned(), column[member].clone())).collect::<Map<_, _>>().into();
    recorded["columns"].as_array().unwrap().iter().map(column).collect()
}

/// As the dump of the recorded file has it.
fn as_json(cell: &Cell, column: &Json) -> Json {
    match cell {
        Cell::Null => Json::Null,
        Cell::Number(number) => (*number).into(),
        Cell::Octets(octets) if column["logical"] == "String" => String::from_utf8(octets.clone()).unwrap().into(),
        Cell::Octets(octets) => serde_json::json!({"hex": hex::encode(octets)}),
    }
}

/// How the dump calls the types of the footer.
fn described(element: &Thrift) -> Json {
    let number = |field| element.get(field).map(Thrift::number);
    let logical = match element.get(10) {
        None => "None".to_owned(),
        Some(Thrift::Struct(union)) => match union.iter().next().unwrap() {
            (1, _) => "String".to_owned(),
            (8, timestamp) => {
                assert_eq!((timestamp.at(1), timestamp.at(2).get(2).is_some()), (&Thrift::Bool(true), true));
                "Timestamp(isAdjustedToUTC=true, timeUnit=microseconds, is_from_converted_type=false, force_set_converted_type=false)"
                    .to_owned()
            }
            (10, integer) => {
                format!("Int(bitWidth={}, isSigned={})", integer.at(1).number(), *integer.at(2) == Thrift::Bool(true))
            }
            other => panic!("{other:?}"),
        },
        Some(other) => panic!("{other:?}"),
    };
    serde_json::json!({
        "name": element.at(4).text(),
        "physical": match number(1) { Some(1) => "INT32", Some(2) => "INT64", Some(6) => "BYTE_ARRAY", other => panic!("{other:?}") },
        "logical": logical,
        "converted": match number(6) { Some(0) => "UTF8", Some(10) => "TIMESTAMP_MICROS", Some(11) => "UINT_8", Some(12) => "UINT_16", Some(13) => "UINT_32", Some(14) => "UINT_64", None => "NONE", other => panic!("{other:?}") },
        "optional": number(3) == Some(1),
        "codec": "SNAPPY",
    })
}
