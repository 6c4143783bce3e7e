//! Archives of each kind, by way of http.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use orch_artifact::{Error, Mode, Request};

use crate::server::{Answer, Server};
use crate::world::{World, as_file, files, options};

const TREE_TAR_XZ: &[u8] = include_bytes!("../data/tree.tar.xz");
const HELLO_XZ: &[u8] = include_bytes!("../data/hello.xz");

/// The same tree as in `tree.tar.xz`.
fn tar() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, mode, content) in [("readme", 0o644, "hello\n"), ("bin/run", 0o755, "#!/bin/sh\n")] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zip() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let file = zip::write::SimpleFileOptions::default();
    for (name, mode, content) in [("readme", 0o644, "hello\n"), ("bin/run", 0o755, "#!/bin/sh\n")] {
        writer.start_file(name, file.unix_permissions(mode)).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Serves each archive under its name.
fn server() -> Server {
    Server::start(|asked| match asked.path.trim_start_matches('/') {
        "tree.tar" => Answer::ok(tar()),
        "tree.tar.gz" | "tree.tgz" | "tree" => Answer::ok(gz(&tar())),
        "tree.tar.xz" | "tree.txz" => Answer::ok(TREE_TAR_XZ),
        "tree.tar.zst" => Answer::ok(zst(&tar())),
        "tree.zip" => Answer::ok(zip()),
        "hello.gz" => Answer::ok(gz(b"hello\n")),
        "hello.xz" => Answer::ok(HELLO_XZ),
        "hello.zst" => Answer::ok(zst(b"hello\n")),
        _ => Answer::status(404),
    })
}

#[tokio::test]
async fn archives_of_each_kind_unfold_in_the_destination() {
    let server = server();
    for name in ["tree.tar", "tree.tar.gz", "tree.tgz", "tree.tar.xz", "tree.txz", "tree.tar.zst", "tree.zip"] {
        let world = World::new();
        fs::create_dir(world.local("bin")).unwrap();
        fs::write(world.local("bin/other"), "stays").unwrap();
        fs::write(world.local("readme"), "is replaced").unwrap();
        world.fetch(world.request(server.url(name))).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(files(&world.local("")), ["bin/other", "bin/run", "readme"], "{name}");
        assert_eq!(fs::read_to_string(world.local("readme")).unwrap(), "hello\n", "{name}");
        assert_eq!(fs::metadata(world.local("bin/run")).unwrap().permissions().mode() & 0o7777, 0o755, "{name}");
    }
}

#[tokio::test]
async fn a_compressed_file_becomes_the_file() {
    let server = server();
    for name in ["hello.gz", "hello.xz", "hello.zst"] {
        let world = World::new();
        world.fetch(world.request(server.url(name))).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        world.fetch(as_file(&world, server.url(name), "local/given")).await.unwrap();
        assert_eq!(files(&world.local("")), ["given", "hello"], "{name}");
        assert_eq!(fs::read_to_string(world.local("hello")).unwrap(), "hello\n", "{name}");
    }
}

#[tokio::test]
async fn the_option_archive_overrules_the_name() {
    let (world, server) = (World::new(), server());
    let with = |name: &str, archive: &str| Request {
        options: options(&[("archive", archive)]),
        ..world.request(server.url(name))
    };
    world.fetch(with("tree", "tar.gz")).await.unwrap();
    world.fetch(with("tree.zip", "false")).await.unwrap();
    assert_eq!(files(&world.local("")), ["bin/run", "readme", "tree.zip"]);
    let wrong = World::new();
    let error = wrong
        .refused(Request { options: options(&[("archive", "zip")]), ..wrong.request(server.url("tree.tar")) })
        .await;
    assert!(matches!(error, Error::Content { .. }), "{error}");
}

#[tokio::test]
async fn a_subdirectory_is_taken_alone() {
    let (world, server) = (World::new(), server());
    let dir = |source: &str| Request {
        mode: Mode::Dir,
        destination: world.at("local/new/dir"),
        ..world.request(server.url(source))
    };
    world.fetch(dir("tree.zip//b*")).await.unwrap();
    assert_eq!(files(&world.local("")), ["new/dir/run"]);
    world.fetch(as_file(&world, server.url("tree.tgz//bin/run"), "local/run")).await.unwrap();
    world.fetch(as_file(&world, server.url("tree.tgz//bin"), "local/run2")).await.unwrap();
    assert_eq!(files(&world.local("")), ["new/dir/run", "run", "run2"]);

    for (request, expected) in [
        (dir("tree.zip//missing"), "there is no \"missing\""),
        (dir("tree.zip//*"), "several"),
        (dir("tree.zip//readme"), "is a file"),
        (as_file(&world, server.url("tree.zip"), "local/x"), "exactly one file"),
    ] {
        let error = world.fetch(request).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_checksum_is_that_of_the_packed_file() {
    let (world, server) = (World::new(), server());
    let request = |checksum: &str| Request {
        options: options(&[("checksum", checksum)]),
        ..world.request(server.url("hello.xz"))
    };
    // Of the unpacked file.
    world.refused(request("md5:b1946ac92492d2347c6235b4d2611184")).await;
    world.fetch(request(include_str!("../data/hello.xz.md5").trim())).await.unwrap();
}

#[tokio::test]
async fn an_archive_that_reaches_out_leaves_nothing() {
    let world = World::new();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o644);
    builder.append_data(&mut header.clone(), "first", &b"fine\n"[..]).unwrap();
    header.as_old_mut().name[..12].copy_from_slice(b"../../escape");
    header.set_cksum();
    builder.append(&header, &b"evil\n"[..]).unwrap();
    let server = Server::of(builder.into_inner().unwrap());
    let error = world.refused(world.request(server.url("x.tar"))).await;
    assert!(matches!(error, Error::Content { .. }), "{error}");
    assert!(error.to_string().contains("leads out"), "{error}");
}

#[tokio::test]
async fn links_that_lead_out_by_way_of_each_other_are_refused_unless_inspection_is_off() {
    // Each stays inside by its text: `a/up` is the top, and `out` is the parent of that.
    let mut builder = tar::Builder::new(Vec::new());
    for (name, target) in [("a/up", ".."), ("out", "a/up/..")] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }
    let server = Server::of(builder.into_inner().unwrap());
    let mut world = World::new();
    let error = world.refused(world.request(server.url("x.tar"))).await;
    assert!(matches!(error, Error::Content { .. }) && error.to_string().contains("\"out\""), "{error}");

    world.config.disable_artifact_inspection = true;
    world.fetch(world.request(server.url("x.tar"))).await.unwrap();
    assert_eq!(files(&world.local("")), ["a/up", "out"]);
}

#[tokio::test]
async fn limits_of_unpacking_come_from_the_configuration() {
    let server = server();
    let mut world = World::new();
    world.config.decompression_file_count_limit = 1;
    let error = world.refused(world.request(server.url("tree.zip"))).await;
    assert!(matches!(error, Error::TooLarge { .. }) && error.to_string().contains("count"), "{error}");
    world.config.decompression_size_limit = 10;
    world.config.decompression_file_count_limit = 0;
    let error = world.refused(world.request(server.url("tree.tar.xz"))).await;
    assert!(matches!(error, Error::TooLarge { .. }) && error.to_string().contains("size"), "{error}");
}
