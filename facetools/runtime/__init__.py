"""The machine and the process: files, memory, hardware, threads, jobs of several processes."""
