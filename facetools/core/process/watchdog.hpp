// Ends the process soon after a signal, whatever its other threads do.
//
// Python runs a signal handler only when its main thread returns to the interpreter. A call into a library may take
// minutes, and some hold the interpreter's lock, so that no Python thread runs meanwhile. The watchdog is a thread that
// needs no lock. It reads the numbers of signals from a descriptor to which Python writes them at once
// (signal.set_wakeup_fd).
#pragma once

#include <map>
#include <string>

namespace facetools {

// How a signal ends the process.
struct Ending {
  int status;       // the exit status, or 0 to end by the signal
  double grace;     // seconds that the process has to end by itself; may be infinite
  bool hands_over;  // after that time, wake the caller of wait_for_handover instead of ending the process
};

// By the number of the signal; all others are ignored. A second signal, at least a second after the first, ends the
// process at once.
using Endings = std::map<int, Ending>;

// Starts the watchdog, which reads signal numbers, one byte each, from `descriptor`. May be called once.
void start_watchdog(int descriptor, Endings endings);

void set_endings(Endings endings);

// Blocks until the watchdog hands over, and returns the number of the signal.
int wait_for_handover();

// Temporary files that the watchdog deletes before it ends the process.
void add_temporary_file(const std::string& path);
void remove_temporary_file(const std::string& path);

}  // namespace facetools
