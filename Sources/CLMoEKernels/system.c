// Calls that need _GNU_SOURCE, and the handler for I/O errors under a memory map.
#define _GNU_SOURCE
#include "CLMoEKernels.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/random.h>
#else
#include <stdlib.h>
#endif

int lmoe_errno(void) { return errno; }
void lmoe_clear_errno(void) { errno = 0; }

int lmoe_lock_writer(int descriptor, int take) {
#if defined(F_OFD_SETLK)
  struct flock lock;
  memset(&lock, 0, sizeof lock);
  lock.l_type = take ? F_WRLCK : F_UNLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 1;
  lock.l_len = 1;
  return fcntl(descriptor, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
#else
  (void)descriptor;
  (void)take;
  return ENOTSUP;
#endif
}

int lmoe_writer_is_locked(int descriptor) {
#if defined(F_OFD_GETLK)
  struct flock lock;
  memset(&lock, 0, sizeof lock);
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 1;
  lock.l_len = 1;
  return fcntl(descriptor, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
#else
  (void)descriptor;
  return 0;
#endif
}

int lmoe_reserve(int descriptor, int64_t offset, int64_t length) {
#if defined(__linux__)
  return fallocate(descriptor, FALLOC_FL_KEEP_SIZE, offset, length) == 0 ? 0 : errno;
#else
  (void)descriptor;
  (void)offset;
  (void)length;
  return ENOTSUP;
#endif
}

#if defined(MADV_POPULATE_READ)
static uintptr_t page_of(const void *bytes, uintptr_t page) { return (uintptr_t)bytes / page * page; }
#endif

int lmoe_populate(const void *bytes, size_t length) {
#if defined(MADV_POPULATE_READ)
  if (length == 0) return 0;
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t start = page_of(bytes, page), end = page_of((const char *)bytes + length + page - 1, page);
  while (madvise((void *)start, end - start, MADV_POPULATE_READ) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
#else
  (void)bytes;
  (void)length;
  return ENOTSUP;
#endif
}

int lmoe_is_resident(const void *bytes, size_t length) {
#if defined(MADV_POPULATE_READ)
  enum { PAGES = 1024 };
  unsigned char pages[PAGES];
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = (uintptr_t)bytes + length;
  for (uintptr_t at = page_of(bytes, page); at < end; at += PAGES * page) {
    const size_t count = (end - at + page - 1) / page, some = count < PAGES ? count : PAGES;
    if (mincore((void *)at, some * page, pages) != 0) return 0;
    for (size_t i = 0; i < some; i++) {
      if (!(pages[i] & 1)) return 0;
    }
  }
  return 1;
#else
  (void)bytes;
  (void)length;
  return 0;
#endif
}

int lmoe_is_own(int descriptor) {
  struct stat status;
  return fstat(descriptor, &status) == 0 && status.st_uid == geteuid();
}

static char sigbus_message[256];
static size_t sigbus_length;
static int sigbus_status;

static void on_sigbus(int number) {
  (void)number;
  ssize_t ignored = write(2, sigbus_message, sigbus_length);
  (void)ignored;
  _exit(sigbus_status);
}

void lmoe_exit_on_sigbus(const char *message, int status) {
  strncpy(sigbus_message, message, sizeof sigbus_message - 1);
  sigbus_length = strlen(sigbus_message);
  sigbus_status = status;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_sigbus;
  sigaction(SIGBUS, &action, 0);
}

int lmoe_random(void *bytes, size_t length) {
#if defined(__linux__)
  uint8_t *next = bytes;
  while (length > 0) {
    ssize_t got = getrandom(next, length, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    next += got;
    length -= (size_t)got;
  }
  return 0;
#else
  arc4random_buf(bytes, length);
  return 0;
#endif
}

// Paths of temporary files, for the signal handler: fixed slots, so that it allocates and locks nothing.
enum { temporary_slots = 16, temporary_length = 4096 };
static char temporaries[temporary_slots][temporary_length];

void lmoe_temporary_began(const char *path) {
  if (strlen(path) >= temporary_length) return;
  for (int slot = 0; slot < temporary_slots; slot++) {
    if (temporaries[slot][0] == 0) {
      strcpy(temporaries[slot] + 1, path + 1);
      temporaries[slot][0] = path[0];  // last: the handler sees a whole path or none
      return;
    }
  }
}

void lmoe_temporary_ended(const char *path) {
  for (int slot = 0; slot < temporary_slots; slot++)
    if (strcmp(temporaries[slot], path) == 0) temporaries[slot][0] = 0;
}

static void on_signal(int number) {
  for (int slot = 0; slot < temporary_slots; slot++) {
    if (temporaries[slot][0] == 0 || unlink(temporaries[slot]) == 0) continue;
    // A directory with files in it: walking it here would allocate, so another program does.
    pid_t child = fork();
    if (child == 0) {
      execl("/bin/rm", "rm", "-rf", "--", temporaries[slot], (char *)0);
      _exit(127);
    }
    if (child > 0) waitpid(child, 0, 0);
  }
  _exit(128 + number);
}

void lmoe_remove_temporaries_on_signals(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, 0);
  sigaction(SIGTERM, &action, 0);
  sigaction(SIGHUP, &action, 0);
  // Beyond a limit on file sizes a write then fails, and ends in a sentence.
  action.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &action, 0);
}

static volatile sig_atomic_t caught;

static void on_interrupt(int number) {
  // Whoever asks twice does not want to wait.
  if (caught) on_signal(number);
  caught = number;
}

void lmoe_catch_interrupts(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, 0);
  sigaction(SIGTERM, &action, 0);
  sigaction(SIGHUP, &action, 0);
}

int lmoe_interrupted(void) { return caught; }
