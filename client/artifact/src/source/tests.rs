//! What texts mean.

use super::*;

const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn request(source: &str, options: &[(&str, &str)]) -> Request {
    let options = options.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Request { source: source.into(), options, ..Request::default() }
}

fn read(source: &str) -> Source {
    Source::read(&request(source, &[]), false).unwrap_or_else(|reason| panic!("{source}: {reason}"))
}

fn refused(source: &str, options: &[(&str, &str)]) -> String {
    Source::read(&request(source, options), false).err().unwrap_or_else(|| panic!("{source} was taken"))
}

/// Kind, address, and subdirectory.
fn meaning(source: &str) -> String {
    let read = read(source);
    let place = match &read.place {
        Place::Http { url } => format!("http {url}"),
        Place::Git(git) => format!("git {} ref {:?} depth {:?}", git.url, git.reference, git.depth),
        Place::S3(s3) => format!("s3 {} {} {} {:?} {:?}", s3.bucket, s3.key, s3.region, s3.endpoint, s3.version),
        Place::File { path } => format!("file {}", path.display()),
    };
    format!("{place} sub {:?}", read.subdirectory).replace("None", "-").replace("Some", "")
}

#[test]
fn sources_mean_what_go_getter_takes_them_for() {
    for (source, expected) in [
        ("https://x.example/a/b.txt?v=1", "http https://x.example/a/b.txt?v=1 sub -"),
        ("http::https://x.example/a.zip//in/side", "http https://x.example/a.zip sub (\"in/side\")"),
        (
            "git::https://x.example/r.git//s?ref=v1&depth=1",
            "git https://x.example/r.git ref (\"v1\") depth (1) sub (\"s\")",
        ),
        ("github.com/a/b", "git https://github.com/a/b.git ref - depth - sub -"),
        ("github.com/a/b.git//c/d?ref=x", "git https://github.com/a/b.git ref (\"x\") depth - sub (\"c/d\")"),
        ("gitlab.com/a/b/c//d", "git https://gitlab.com/a/b.git ref - depth - sub (\"c/d\")"),
        ("bitbucket.org/a/b", "git https://bitbucket.org/a/b.git ref - depth - sub -"),
        ("git@h.example:o/r.git?ref=m", "git ssh://git@h.example/o/r.git ref (\"m\") depth - sub -"),
        ("git::git@h.example:/o/r//s", "git ssh://git@h.example/o/r ref - depth - sub (\"s\")"),
        ("git::ssh://git@h.example:22/o/r.git", "git ssh://git@h.example:22/o/r.git ref - depth - sub -"),
        ("s3::https://s3.amazonaws.com/b/k/l", "s3 b k/l us-east-1 - - sub -"),
        ("s3::https://s3-eu-west-1.amazonaws.com/b/k?version=7", "s3 b k eu-west-1 - (\"7\") sub -"),
        ("my.b.s3.eu-north-1.amazonaws.com/k", "s3 my.b k eu-north-1 - - sub -"),
        ("b.s3.amazonaws.com/k.tgz//d", "s3 b k.tgz us-east-1 - - sub (\"d\")"),
        ("s3://b/k?region=r", "s3 b k r - - sub -"),
        ("s3::http://127.0.0.1:9/b/k", "s3 b k us-east-1 (\"http://127.0.0.1:9\") - sub -"),
    ] {
        assert_eq!(meaning(source), expected, "{source}");
    }
}

#[test]
fn options_of_the_request_win_over_the_query_and_the_rest_keeps_its_spelling() {
    let source = "https://x.example/f?sig=a%2Fb+c%20d&archive=zip&checksum=md5:x&filename=g";
    let checksum = format!("sha256:{SHA256}");
    let read =
        Source::read(&request(source, &[("checksum", &checksum), ("archive", "tar.gz"), ("n", "1&2")]), false).unwrap();
    assert!(matches!(read.place, Place::Http { url } if url == "https://x.example/f?sig=a%2Fb+c%20d&n=1%262"));
    assert_eq!(read.archive, Some(Archive::TarGz));
    assert_eq!(read.filename, "g");
    assert!(matches!(read.checksum, Some(Checksum::Digest(digest)) if digest.hex() == SHA256));
}

#[test]
fn the_name_tells_the_archive_unless_an_option_does() {
    let archive = |source: &str| read(source).archive;
    assert_eq!(archive("https://x.example/a.TAR.GZ"), Some(Archive::TarGz));
    assert_eq!(archive("https://x.example/a.txz"), Some(Archive::TarXz));
    assert_eq!(archive("https://x.example/a.tar.zst?x=.zip"), Some(Archive::TarZst));
    assert_eq!(archive("https://x.example/a.gz"), Some(Archive::Gz));
    assert_eq!(archive("https://x.example/a.zip?archive=false"), None);
    assert_eq!(archive("https://x.example/a?archive=tgz"), Some(Archive::TarGz));
    assert_eq!(archive("https://x.example/tar"), None);
    assert!(refused("https://x.example/a.tar.bz2", &[]).contains("bzip2"));
    assert!(refused("https://x.example/a", &[("archive", "rar")]).contains("rar"));
}

#[test]
fn what_cannot_be_fetched_says_why() {
    let sub = [("filename", "../x")];
    for (source, options, expected) in [
        ("", &[][..], "empty"),
        ("hg::https://x.example/r", &[], "Mercurial"),
        ("gcs::https://www.googleapis.com/storage/v1/b/k", &[], "Google"),
        ("www.googleapis.com/storage/v1/b/k", &[], "Google"),
        ("ftp://x.example/f", &[], "\"ftp\""),
        ("file:///etc/passwd", &[], "own disk"),
        ("/etc/passwd", &[], "own disk"),
        ("git::file:///srv/r", &[], "own disk"),
        ("git::/srv/r", &[], "own disk"),
        ("git::ext::sh -c id", &[], "address"),
        ("git::ssh://-oProxyCommand=id/x", &[], "dash"),
        ("git::https://x.example/r", &[("ref", "--upload-pack=id")], "ref"),
        ("git::https://x.example/r", &[("checksum", "md5:d41d8cd98f00b204e9800998ecf8427e")], "commit"),
        ("./local", &[], "scheme"),
        ("https://x.example/", &[], "names no file"),
        ("https://x.example/f", &sub, "filename"),
        ("https://x.example/f//sub", &[], "subdirectory"),
        ("https://x.example/f.zip//../../x", &[], "leads out"),
        ("https://x.example/f", &[("checksum", "sha256:abc")], "checksum"),
        ("https://x.example/f", &[("checksum", "file:/etc/passwd")], "checksum"),
        ("s3::https://s3.amazonaws.com/", &[], "bucket"),
        ("s3://b/k", &[("aws_access_key_id", "x")], "go together"),
    ] {
        let reason = refused(source, options);
        assert!(reason.contains(expected), "{source}: {reason}");
    }
}

#[test]
fn a_source_is_shown_without_its_secrets() {
    assert_eq!(shown("https://u:pw@x.example/a?aws_access_key_secret=s"), "https://x.example/a");
    assert_eq!(shown("git::ssh://git@x.example/a"), "git::ssh://git@x.example/a");
    assert_eq!(shown("github.com/a/b?sshkey=k"), "github.com/a/b");
}

#[test]
fn a_listing_of_checksums_is_searched_for_the_name() {
    let other = SHA256.replace('e', "f");
    let listing = format!("{other}  a.zip\n{SHA256} *dir/b.zip\nSHA256 (c.zip) = {other}\n");
    let hex = |listing: &str, name: &str| from_listing(listing, name).map(|digest| digest.hex().to_owned());
    assert_eq!(hex(&listing, "b.zip").as_deref(), Some(SHA256));
    assert_eq!(hex(&listing, "c.zip").as_deref(), Some(&*other));
    assert_eq!(hex(&listing, "d.zip"), None);
    assert_eq!(hex(SHA256, "d.zip").as_deref(), Some(SHA256));
}
