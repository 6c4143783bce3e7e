# Counts to ten and ends: a batch job is complete when its tasks have succeeded.
job "count" {
  type = "batch"

  group "count" {
    task "count" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "i=1; while [ $i -le 10 ]; do echo \"$NOMAD_ALLOC_ID counts $i\"; i=$((i + 1)); sleep 1; done"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
