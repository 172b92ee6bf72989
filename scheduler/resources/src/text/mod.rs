//! Resources as people and Mesos write them.
//!
//! ```text
//! resources   = ( resource ( ";" resource )* )?
//! resource    = name ( "(" reservation ")" )? ( "[" volume "]" )? "{REV}"? ":" value
//! reservation = role | role "," principal ( "," labels )?
//! labels      = "{" label ( "," label )* "}"
//! label       = key "=" value-of-label
//! volume      = id ":" container-path ":" ( "rw" | "ro" )
//! value       = amount | ranges | set
//! amount      = digits ( "." digits )?                              up to three decimals
//! ranges      = "[" ( range ( "," range )* )? "]"
//! range       = number "-" number
//! set         = "{" ( item ( "," item )* )? "}"
//! word        = bare | quoted                                       roles, principals, ids, items …
//! bare        = characters other than whitespace, controls and ( ) [ ] { } : ; , = " \
//! quoted      = '"' ( character | '\"' | '\\' )* '"'
//! ```
//!
//! `cpus:4;mem:1024;ports:[31000-32000];disk(db):10` is the text of Mesos. What Mesos has no text for
//! is an extension: `cpus(db, weir-operator, {why=migration}):4` is dynamically reserved,
//! `disk(db)[pgdata:data:rw]:10240` is a volume, `cpus{REV}:2` is revocable. Quotes are for words with
//! spaces and signs in them.
//!
//! Spaces may stand between any two of these, order does not matter, and one resource may be named
//! in parts. Role `*` is read as no role. Everything that is printed reads back as the same value.
//!
//! Whatever else stands in the text is an error that says where. That goes for much that Mesos
//! accepts and some of which it then forgets: nothing (`cpus:0`), signs, exponents, `nan`, a fourth
//! decimal, numbers with a leading zero, ranges that are backwards or overlap, one number for a range
//! (write `5-5`), items named twice, empty resources (`cpus:4;;`).

mod error;
mod print;
mod read;
mod reader;

pub(crate) use error::shortened;
pub use error::{Refusal, TextError};
pub use print::{InQuotes, Quoted};
pub(crate) use read::ranges;
pub(crate) use reader::{Reader, number};

pub use crate::ports::Found;
