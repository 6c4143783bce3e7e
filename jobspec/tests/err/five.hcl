job "web" {
  group "app" {
    count = "many"

    restart {
      interval = "10 minutes"
    }

    network {
      port "http" {
        static = 70000
      }
    }

    task "server" {
      driver = "rawexec"
      comand = "/bin/server"

      resources {
        memory = 5
      }
    }
  }
}
