#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// Runs `body` on a thread of its own.
///
/// - Returns: Whether there is one.
func startThread(_ body: @escaping @Sendable () -> Void) -> Bool {
  let body = unsafe Unmanaged.passRetained(ThreadBody(body))
  #if canImport(Glibc)
    var thread = pthread_t()
    let failed = unsafe pthread_create(&thread, nil, runThreadBody, body.toOpaque())
    if failed == 0 { pthread_detach(thread) }
  #else
    var thread: pthread_t?
    let failed = unsafe pthread_create(&thread, nil, runThreadBody, body.toOpaque())
    if failed == 0, let thread { pthread_detach(thread) }
  #endif
  if failed != 0 { unsafe body.release() }
  return failed == 0
}

private final class ThreadBody: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

#if canImport(Glibc)
  private func runThreadBody(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let context = unsafe context {
      unsafe Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
    }
    return nil
  }
#else
  private func runThreadBody(_ context: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    unsafe Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
    return nil
  }
#endif
