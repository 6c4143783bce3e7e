//! Commands inside tasks and connections to ports, over real sockets, through whichever agent is asked.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use futures::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use orch_api::client::{ActionOptions, Address, Error, ExecOptions};
use orch_api::{Client, Config, ExecInput, ExecOutput, ExecPiece, QueryOptions, TtySize};
use orch_model::allocation::ClientStatus;
use orch_model::job::Action;
use orch_model::{AllocId, Allocation, NodeId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::fake::{FakeControl, State};
use super::fake_node::FakeNode;
use super::fake_task::FakeTask;
use super::{alloc, job, node_behind, router, small_cluster, uuid};

/// A server, the client of node 2 that runs allocation 1, and a client of another node; all behind sockets.
struct Agents {
    server: SocketAddr,
    node: SocketAddr,
    elsewhere: SocketAddr,
    running: Arc<FakeNode>,
}

async fn agents(control: Arc<FakeControl>) -> Agents {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let running = Arc::new(node_behind(Some(server)));
    let node = serve(router(None, Some(running.clone()))).await;
    control.agents.lock().unwrap().insert(running.id, node);
    tokio::spawn(async move { axum::serve(listener, router(Some(control), None)).await });
    let (id, alloc) = (NodeId::from_uuid(uuid(9)), AllocId::from_uuid(uuid(99)));
    let other = FakeNode { id, alloc, healthy: true, task: FakeTask::default(), server: Some(server) };
    let elsewhere = serve(router(None, Some(Arc::new(other)))).await;
    Agents { server, node, elsewhere, running }
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    addr
}

fn client(agent: SocketAddr) -> Client {
    let address = Address::Tcp { host: agent.ip().to_string(), port: agent.port() };
    Client::new(Config { address, ..Config::default() })
}

fn command(command: &str, tty: bool) -> ExecOptions {
    ExecOptions { task: "app".into(), command: vec![command.into()], tty }
}

fn one() -> String {
    uuid(1).to_string()
}

fn stdin(piece: ExecPiece) -> ExecInput {
    ExecInput { stdin: Some(piece), ..ExecInput::default() }
}

/// What a command wrote to its outputs, and its exit code.
async fn to_the_end(mut output: orch_api::client::ExecReader) -> (Vec<u8>, Vec<u8>, i32) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        let ExecOutput { stdout, stderr, exited, result } = output.next().await.unwrap();
        out.extend(stdout.into_iter().flat_map(|piece| piece.data.0));
        err.extend(stderr.into_iter().flat_map(|piece| piece.data.0));
        if exited {
            return (out, err, result.unwrap().exit_code);
        }
    }
}

#[tokio::test]
async fn a_command_reads_writes_and_ends_through_whichever_agent_is_asked() {
    let agents = agents(small_cluster()).await;
    for agent in [agents.node, agents.server, agents.elsewhere] {
        let mut exec = client(agent).exec(&one(), &command("cat", false)).await.unwrap();
        // More than the command, the queue and the sockets' messages hold at once.
        let much: Vec<u8> = (0..600_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let sent = much.clone();
        let writing = tokio::spawn(async move {
            for piece in sent.chunks(10_000) {
                exec.input.send(&stdin(ExecPiece::data(piece.to_vec()))).await.unwrap();
            }
            exec.input.send(&stdin(ExecPiece::end())).await.unwrap();
            exec.input
        });
        let (out, err, code) = to_the_end(exec.output).await;
        assert!(out == much && err.is_empty() && code == 0, "{} bytes, {code}", out.len());
        writing.await.unwrap();

        let failed = client(agent).exec(&one(), &command("fail", false)).await.unwrap();
        assert_eq!(to_the_end(failed.output).await, (vec![], b"no\n".to_vec(), 3));
    }
}

#[tokio::test]
async fn a_terminal_takes_the_size_of_its_user() {
    let agents = agents(small_cluster()).await;
    let mut exec = client(agents.elsewhere).exec(&one(), &command("sizes", true)).await.unwrap();
    for (height, width, shown) in [(24, 80, "24x80\n"), (0, 100_000, "1x65535\n")] {
        exec.input.send(&ExecInput { tty_size: Some(TtySize { height, width }), ..Default::default() }).await.unwrap();
        let output = loop {
            match exec.output.next().await.unwrap().stdout {
                Some(piece) => break piece,
                // A terminal has no other output.
                None => continue,
            }
        };
        assert_eq!(output, ExecPiece::data(shown));
    }
    exec.input.send(&stdin(ExecPiece::end())).await.unwrap();
    assert_eq!(to_the_end(exec.output).await, (vec![], vec![], 24));
}

#[tokio::test]
async fn a_command_ends_when_its_user_goes_and_its_user_is_told_when_it_ends() {
    let agents = agents(small_cluster()).await;
    let exec = client(agents.elsewhere).exec(&one(), &command("sleep", false)).await.unwrap();
    drop(exec);
    agents.running.task.left.notified().await;
    // What a command left behind holds its outputs open; the user need not wait for that.
    let exec = client(agents.server).exec(&one(), &command("daemon", false)).await.unwrap();
    assert_eq!(to_the_end(exec.output).await, (vec![], vec![], 0));
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_the_reason() {
    let agents = agents(small_cluster()).await;
    for agent in [agents.node, agents.server, agents.elsewhere] {
        let client = client(agent);
        let close = async |options: &ExecOptions| {
            let mut exec = client.exec(&one(), options).await.unwrap();
            match exec.output.next().await.unwrap_err() {
                Error::Ended { message } => message,
                other => panic!("{other:?}"),
            }
        };
        let other_task = ExecOptions { task: "web".into(), ..command("cat", false) };
        assert_eq!(close(&other_task).await, "the allocation has no task \"web\"");
        let missing = "cannot run \"missing\" in the task: no such file or directory";
        assert_eq!(close(&command("missing", false)).await, missing);

        let refused = async |alloc: &str, options: ExecOptions| match client.exec(alloc, &options).await.unwrap_err() {
            Error::Status { status, message } => (status.as_u16(), message),
            other => panic!("{other:?}"),
        };
        let without_task = ExecOptions { task: String::new(), ..command("cat", false) };
        assert_eq!(refused(&one(), without_task).await, (400, "must provide task name".into()));
        let nothing = ExecOptions { command: vec![], ..command("", false) };
        assert!(refused(&one(), nothing).await.1.starts_with("must provide a command"));
        let unknown = refused(&uuid(77).to_string(), command("cat", false)).await;
        assert_eq!(unknown, (404, format!("Unknown allocation \"{}\"", uuid(77))));
        assert_eq!(refused("x", command("cat", false)).await.0, 404);
    }
}

#[tokio::test]
async fn requests_that_are_no_websockets_of_this_site_are_refused() {
    let agents = agents(small_cluster()).await;
    let path = format!("/v1/client/allocation/{}/exec?task=app&command=%5B%22cat%22%5D", uuid(1));
    let plain = client(agents.node).raw(http::Method::GET, &path, None).await.unwrap();
    assert_eq!(plain.status, 400);
    assert!(String::from_utf8_lossy(&plain.body).contains("speaks websocket"), "{plain:?}");
    let mut request = format!("ws://{}{path}", agents.server).into_client_request().unwrap();
    request.headers_mut().insert("origin", "http://evil.example".parse().unwrap());
    let stream = TcpStream::connect(agents.server).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await.unwrap_err() {
        tokio_tungstenite::tungstenite::Error::Http(response) => assert_eq!(response.status(), StatusCode::FORBIDDEN),
        other => panic!("{other:?}"),
    }
}

/// The texts that a websocket of another implementation receives, and the code and reason of its close.
async fn talk(agent: SocketAddr, query: &str, sent: &[&str]) -> (Vec<String>, u16, String) {
    let url = format!("ws://{agent}/v1/client/allocation/{}/exec?{query}", uuid(1));
    let stream = TcpStream::connect(agent).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    for text in sent {
        socket.send(Message::text(*text)).await.unwrap();
    }
    let mut texts = Vec::new();
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => texts.push(text.as_str().to_owned()),
            Message::Close(Some(frame)) => return (texts, frame.code.into(), frame.reason.as_str().to_owned()),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_messages_are_those_of_the_dialect() {
    let agents = agents(small_cluster()).await;
    let cat = "task=app&command=%5B%22cat%22%5D&tty=false&ws_handshake=true";
    let hello = r#"{"version":1,"auth_token":""}"#;
    let (mut texts, code, _) =
        talk(agents.server, cat, &[hello, "{}", r#"{"stdin":{"data":"aGkK"}}"#, r#"{"stdin":{"close":true}}"#]).await;
    assert_eq!((texts.pop().as_deref(), code), (Some(r#"{"exited":true,"result":{}}"#), 1000));
    // The outputs are told apart by name; in which order they end is theirs.
    texts.sort();
    let expected = [r#"{"stderr":{"close":true}}"#, r#"{"stdout":{"close":true}}"#, r#"{"stdout":{"data":"aGkK"}}"#];
    assert_eq!(texts, expected);

    let (texts, code, reason) = talk(agents.server, cat, &[r#"{"version":2}"#]).await;
    assert_eq!((texts.len(), code, reason.as_str()), (0, 1008, "the handshake's version must be 1"));
    let (_, code, reason) = talk(agents.node, "task=app&command=%5B%22cat%22%5D", &["stdin"]).await;
    assert!(code == 1008 && reason.starts_with("a message cannot be understood"), "{code} {reason}");
    let long = format!(r#"{{"stdin":{{"data":"{}"}}}}"#, "A".repeat(1 << 20));
    let (_, code, reason) = talk(agents.node, "task=app&command=%5B%22cat%22%5D", &[&long]).await;
    assert!(code == 1008 && reason.starts_with("a message cannot be taken"), "{code} {reason}");
}

#[tokio::test]
async fn either_end_of_a_forwarded_connection_may_end_before_the_other() {
    let agents = agents(small_cluster()).await;
    for agent in [agents.node, agents.server, agents.elsewhere] {
        let client = client(agent);
        let mut connection = client.connect_port(&one(), "http", "").await.unwrap();
        connection.write_all(&[7; 100_000]).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "100000 bytes");

        let refused = async |alloc: &str, port: &str| match client.connect_port(alloc, port, "").await {
            Err(Error::Status { status, message }) => (status.as_u16(), message),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("connected"),
        };
        assert_eq!(refused(&one(), "shut").await, (500, "nobody listens at port \"shut\"".into()));
        assert_eq!(refused(&one(), "22").await, (404, "the allocation has no port \"22\"".into()));
        assert_eq!(refused(&one(), "").await.0, 400);
        assert_eq!(refused(&uuid(77).to_string(), "http").await.0, 404);
    }
}

#[tokio::test]
async fn the_data_of_an_allocation_is_handed_over_as_an_archive() {
    let agents = agents(small_cluster()).await;
    let path = format!("/v1/client/allocation/{}/snapshot", uuid(1));
    let answer = client(agents.elsewhere).raw(http::Method::GET, &path, None).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"a tar archive"[..]));
    assert_eq!(answer.headers["content-type"], "application/x-tar");
}

/// A job whose task `app` can `greet` and `fail`, and whose first allocation runs.
fn with_actions() -> Arc<FakeControl> {
    let mut state = State::default();
    state.put_node(orch_model::testing::node(1).build());
    let mut job = job("web");
    let action = |name: &str, command: &str| Action { name: name.into(), command: command.into(), args: vec![] };
    job.task_groups[0].tasks[0].name = "app".into();
    job.task_groups[0].tasks[0].actions = vec![action("greet", "cat"), action("break", "fail")];
    let job = state.put_job(job);
    state.put_alloc(Allocation { client_status: ClientStatus::Running, ..alloc(1, &job) });
    state.put_alloc(alloc(2, &job));
    FakeControl::new(state)
}

#[tokio::test]
async fn an_action_runs_where_its_job_does() {
    let agents = agents(with_actions()).await;
    let client = client(agents.elsewhere);
    let (actions, _) = client.job_actions("web", &QueryOptions::default()).await.unwrap();
    let shown: Vec<_> = actions.iter().map(|action| format!("{} {}", action.task_name, action.name)).collect();
    assert_eq!(shown, ["app greet", "app break"]);
    let run = |action: &str, alloc: &str, task: &str| ActionOptions {
        action: action.into(),
        alloc: alloc.into(),
        task: task.into(),
        ..ActionOptions::default()
    };
    for options in [run("break", "", ""), run("break", &one(), "app")] {
        let exec = client.run_action("web", &options).await.unwrap();
        assert_eq!(to_the_end(exec.output).await, (vec![], b"no\n".to_vec(), 3));
    }
    for (job, options, status, message) in [
        ("none", run("break", "", ""), 404, "job not found"),
        ("web", run("fly", "", ""), 404, "the job has no action \"fly\" there"),
        ("web", run("break", "", "db"), 404, "the job has no action \"break\" there"),
        ("web", run("break", &uuid(55).to_string(), ""), 404, "alloc not found"),
        ("web", run("", "", ""), 400, "must provide an action name"),
    ] {
        match client.run_action(job, &options).await.unwrap_err() {
            Error::Status { status: given, message: said } => {
                assert_eq!((given.as_u16(), said.as_str()), (status, message))
            }
            other => panic!("{other:?}"),
        }
    }
}
