//! A program that does nothing: what is left of a measured time is the kernel's own.
//!
//! It is assembled here, for the compiler of the programs would make an object of everything it is
//! given. The smallest ELF file that a loader of eBPF takes: five sections, one function.

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::programs::SchedClassifier;

/// `r0 = 0`, `exit`.
const INSTRUCTIONS: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const NAMES: &[u8] = b"\0classifier\0license\0.symtab\0.strtab\0empty\0";

// elf.h
const EM_BPF: u16 = 247;
const HEADER_BYTES: u16 = 64;
const SECTION_BYTES: u16 = 64;
const SYMBOL_BYTES: u64 = 24;
const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHF_ALLOC_EXECINSTR: u64 = 6;
const STB_GLOBAL_STT_FUNC: u8 = 0x12;

/// Loads it. It lives as long as the object.
pub(crate) fn load() -> Result<Ebpf> {
    let mut object = Ebpf::load(&file()).context("cannot load an empty program")?;
    let program: &mut SchedClassifier = object
        .program_mut("empty")
        .context("the object has one program")?
        .try_into()?;
    program
        .load()
        .context("the kernel refuses an empty program")?;
    Ok(object)
}

/// Returns where a name is among the names.
fn name(wanted: &str) -> u32 {
    let mut wanted = wanted.as_bytes().to_vec();
    wanted.push(0);
    let at = NAMES
        .windows(wanted.len())
        .position(|window| window == wanted);
    at.and_then(|at| u32::try_from(at).ok())
        .expect("the names are written out above")
}

fn file() -> Vec<u8> {
    let mut symbols = vec![0; 24];
    symbols.extend(name("empty").to_le_bytes());
    // In the first section, from its beginning to its end.
    symbols.extend([STB_GLOBAL_STT_FUNC, 0, 1, 0]);
    symbols.extend(0_u64.to_le_bytes());
    symbols.extend((INSTRUCTIONS.len() as u64).to_le_bytes());

    // What is in a section, its name, kind, flags, link, info, and the size of its entries.
    type Section<'a> = (&'a [u8], &'a str, u32, u64, u32, u32, u64);
    let sections: [Section<'_>; 4] = [
        (
            &INSTRUCTIONS,
            "classifier",
            SHT_PROGBITS,
            SHF_ALLOC_EXECINSTR,
            0,
            0,
            0,
        ),
        (b"GPL\0", "license", SHT_PROGBITS, 2, 0, 0, 0),
        (&symbols, ".symtab", SHT_SYMTAB, 0, 4, 1, SYMBOL_BYTES),
        (NAMES, ".strtab", SHT_STRTAB, 0, 0, 0, 0),
    ];
    let mut contents = Vec::new();
    let mut table = vec![0; usize::from(SECTION_BYTES)];
    for (content, section, kind, flags, link, info, entry) in sections {
        let offset = u64::from(HEADER_BYTES) + contents.len() as u64;
        table.extend(name(section).to_le_bytes());
        table.extend(kind.to_le_bytes());
        for word in [flags, 0, offset, content.len() as u64] {
            table.extend(word.to_le_bytes());
        }
        table.extend(link.to_le_bytes());
        table.extend(info.to_le_bytes());
        table.extend(8_u64.to_le_bytes());
        table.extend(entry.to_le_bytes());
        contents.extend(content);
        contents.resize(contents.len().next_multiple_of(8), 0);
    }

    // 64 bits, little-endian, version 1; a relocatable file for eBPF.
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(1_u16.to_le_bytes());
    file.extend(EM_BPF.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for word in [0, 0, u64::from(HEADER_BYTES) + contents.len() as u64] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [HEADER_BYTES, 0, 0, SECTION_BYTES, 5, 4] {
        file.extend(half.to_le_bytes());
    }
    file.extend(contents);
    file.extend(table);
    file
}
