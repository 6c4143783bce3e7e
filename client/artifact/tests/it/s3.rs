//! Buckets of moto, a double of Amazon's service.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use orch_artifact::{Error, Mode, Request};

use crate::server::{Answer, Server};
use crate::world::{World, as_file, files, options};

/// Makes a bucket with versions, then tells its port and the first version of `dir/a`.
const SERVE: &str = "
import boto3, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
server = make_server('127.0.0.1', 0, DomainDispatcherApplication(create_backend_app), threaded=True)
thread = threading.Thread(target=server.serve_forever)
thread.start()
s3 = boto3.client('s3', endpoint_url=f'http://127.0.0.1:{server.server_port}', region_name='us-east-1',
                  aws_access_key_id='id', aws_secret_access_key='secret')
s3.create_bucket(Bucket='bucket')
s3.put_bucket_versioning(Bucket='bucket', VersioningConfiguration={'Status': 'Enabled'})
first = s3.put_object(Bucket='bucket', Key='dir/a', Body=b'one')['VersionId']
for key, body in [('dir/a', b'two'), ('dir/deep/b c', b'c'), ('directory', b'another'), ('empty/', b'')]:
    s3.put_object(Bucket='bucket', Key=key, Body=body)
print(server.server_port, first, flush=True)
thread.join()
";

struct Moto {
    child: Child,
    address: String,
    first_version: String,
}

impl Moto {
    fn start() -> Self {
        let mut child =
            Command::new("python3").args(["-c", SERVE]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (port, first) = line.trim().split_once(' ').expect("moto does not start: pip install 'moto[server]'");
        Self { child, address: format!("127.0.0.1:{port}"), first_version: first.to_owned() }
    }

    fn source(&self, path: &str) -> String {
        format!("s3::http://{}/{path}", self.address)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn keys() -> std::collections::BTreeMap<String, String> {
    options(&[("aws_access_key_id", "id"), ("aws_access_key_secret", "secret"), ("region", "eu-west-1")])
}

#[tokio::test]
async fn objects_versions_and_directories_of_a_bucket_are_fetched() {
    let (world, moto) = (World::new(), Moto::start());
    let read = |name: &str| fs::read_to_string(world.local(name)).unwrap();
    world.fetch(Request { options: keys(), ..world.request(moto.source("bucket/dir/a")) }).await.unwrap();
    assert_eq!(read("a"), "two");
    let version = Request {
        options: keys(),
        ..as_file(&world, moto.source(&format!("bucket/dir/a?version={}", moto.first_version)), "local/a")
    };
    world.fetch(version).await.unwrap();
    assert_eq!(read("a"), "one");

    for mode in [Mode::Any, Mode::Dir] {
        let to = Request {
            mode,
            options: keys(),
            destination: world.at("local/all"),
            ..world.request(moto.source("bucket/dir"))
        };
        world.fetch(to).await.unwrap();
        assert_eq!(files(&world.local("all")), ["a", "deep/b c"], "{mode:?}");
        assert_eq!((read("all/a"), read("all/deep/b c")), ("two".into(), "c".into()));
        fs::remove_dir_all(world.local("all")).unwrap();
    }
    fs::remove_file(world.local("a")).unwrap();

    for (source, mode, expected) in [
        ("bucket/missing", Mode::Any, "nothing of the name \"missing\""),
        ("bucket/dir", Mode::File, "nothing of the name \"dir\""),
        ("nobucket/x", Mode::Any, "NoSuchBucket: The specified bucket does not exist"),
    ] {
        let request =
            Request { mode, options: keys(), destination: world.at("local/x"), ..world.request(moto.source(source)) };
        let error = world.refused(request).await;
        assert!(matches!(error, Error::Fetch { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn wrong_credentials_and_missing_ones_are_told() {
    let world = World::new();
    let server = Server::start(|_| Answer { status: 403, ..Answer::ok("<Error><Code>AccessDenied</Code></Error>") });
    let source = server.url("b/k").replace("http://", "s3::http://");
    let error = world.refused(Request { options: keys(), ..world.request(&source) }).await;
    assert!(matches!(error, Error::Fetch { .. }) && error.to_string().contains("403"), "{error}");
    assert!(!error.to_string().contains("no credentials were given"), "{error}");
    assert!(server.asked()[0].header("authorization").unwrap().contains("Credential=id/"));

    let error = world.refused(world.request(&source)).await;
    assert!(error.to_string().contains("no credentials were given"), "{error}");
    assert_eq!(server.asked()[1].header("authorization"), None);
}
