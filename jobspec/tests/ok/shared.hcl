# What a job and a group state for all of their tasks, and a task directly in the job.
job "shared" {
  vault {
    role = "job"
  }
  secret "job" {
    provider = "nomad"
    path     = "j"
  }
  task "alone" {
    driver = "raw_exec"
  }
  group "web" {
    vault {
      role = "group"
    }
    secret "group" {
      provider = "nomad"
      path     = "g"
    }
    scaling {
      min = 2
      max = 4
    }
    task "plain" {
      driver = "raw_exec"
    }
    task "own" {
      driver = "raw_exec"
      vault {
        role = "own"
      }
      secret "own" {
        provider = "nomad"
        path     = "o"
      }
    }
  }
}
