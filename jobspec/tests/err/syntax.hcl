job "web" {
  group "app" {
    count 3
    task "t" {
      driver = 'raw_exec'
    }
  }
}
