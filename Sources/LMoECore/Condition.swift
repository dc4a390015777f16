#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// A mutex with a condition that threads can wait for.
@safe final class Condition: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let signal = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  init() {
    unsafe mutex.initialize(to: pthread_mutex_t())
    unsafe signal.initialize(to: pthread_cond_t())
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(signal, nil)
  }

  deinit {
    unsafe pthread_cond_destroy(signal)
    unsafe pthread_mutex_destroy(mutex)
    unsafe mutex.deallocate()
    unsafe signal.deallocate()
  }

  func locked<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return try body()
  }

  /// Waits until another thread calls `broadcast`.
  ///
  /// Only inside `locked`.
  func wait() { unsafe pthread_cond_wait(signal, mutex) }

  func broadcast() { unsafe pthread_cond_broadcast(signal) }
}
