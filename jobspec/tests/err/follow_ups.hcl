# Each mistake is told once: nothing that only follows from it.
job "web" {
  group "app" {
    service {
      provider = "nomad"
      port     = "http"
      check {
        type     = "tcp"
        interval = "10x"
        timeout  = "2s"
      }
    }
    network {
      port "http" {}
    }
    task "server" {
      drvier = "raw_exec"
    }
    task {
      driver = "raw_exec"
    }
  }
  group "other" {
    task {
      driver = "raw_exec"
    }
  }
}
