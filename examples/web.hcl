# Two copies of Python's web server, each on a port that the cluster picks.
#
# It needs nothing but python3 on the nodes:
#
#   orch job run web.hcl
#   orch job status web
job "web" {
  type = "service"

  meta {
    owner = "examples"
  }

  group "server" {
    count = 2

    network {
      port "http" {}
    }

    # Try three times within five minutes, then give up on this node.
    restart {
      attempts = 3
      interval = "5m"
      delay    = "5s"
      mode     = "fail"
    }

    task "python" {
      driver = "raw_exec"

      config {
        command = "python3"
        args    = ["-m", "http.server", "${NOMAD_PORT_http}", "--bind", "${NOMAD_IP_http}"]
      }

      env {
        PYTHONUNBUFFERED = "1"
      }

      resources {
        cpu    = 100
        memory = 64
      }

      logs {
        max_files     = 3
        max_file_size = 5
      }
    }
  }
}
