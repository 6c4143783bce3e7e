//! The programs that the tests run: built by clang on first use, named after what they are built from.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use wasi_preview1_component_adapter_provider as adapters;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The directory of all of them; the node's `module_dirs` names it.
pub(crate) fn dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasm-guests");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// The program of WASI preview 1.
pub(crate) fn program() -> PathBuf {
    let flags = ["--target=wasm32-wasi", "-Os", "-s"];
    built("program", include_str!("program.c"), |source, to| clang(&flags, source, to))
}

/// The same program as a component.
pub(crate) fn component() -> PathBuf {
    built("component", include_str!("program.c"), |_, to| {
        let adapter = adapters::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;
        let module = std::fs::read(program()).unwrap();
        let encoder = ComponentEncoder::default().module(&module).unwrap();
        let bytes = encoder.adapter(adapters::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter).unwrap().encode().unwrap();
        std::fs::write(to, bytes).unwrap();
    })
}

/// The component that serves requests.
pub(crate) fn service() -> PathBuf {
    let wit = include_str!("service.wit");
    built("service", &[include_str!("service.c"), wit].join("\n// "), |_, to| {
        let flags = ["--target=wasm32", "-O2", "-nostdlib", "-Wl,--no-entry"];
        let source = to.with_extension("core.c");
        std::fs::write(&source, include_str!("service.c")).unwrap();
        clang(&flags, &source, to);
        let mut module = std::fs::read(to).unwrap();
        let mut resolve = Resolve::default();
        let package = resolve.push_str("service.wit", wit).unwrap();
        let world = resolve.select_world(&[package], Some("service")).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        let bytes = ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap();
        std::fs::write(to, bytes).unwrap();
        std::fs::remove_file(source).unwrap();
    })
}

/// A file with this text, which may be WebAssembly's text form.
pub(crate) fn text(name: &str, text: &str) -> PathBuf {
    built(name, text, |source, to| assert!(std::fs::copy(source, to).is_ok()))
}

/// What `build` makes of `source`, made now if it is not there.
fn built(name: &str, source: &str, build: impl FnOnce(&Path, &Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let path = dir().join(format!("{name}-{:016x}.wasm", hasher.finish()));
    if !path.exists() {
        // Other tests may be building the same: whoever is last replaces it whole.
        let own = tempfile::tempdir_in(dir()).unwrap();
        let (input, output) = (own.path().join("in.c"), own.path().join("out.wasm"));
        std::fs::write(&input, source).unwrap();
        build(&input, &output);
        std::fs::rename(output, &path).unwrap();
    }
    path
}

fn clang(flags: &[&str], source: &Path, to: &Path) {
    let output = Command::new("clang").args(flags).arg("-o").args([to, source]).output();
    let output = output.expect("clang is needed: install clang, lld, wasi-libc and libclang-rt-dev-wasm32");
    assert!(output.status.success(), "clang failed: {}", String::from_utf8_lossy(&output.stderr));
}
