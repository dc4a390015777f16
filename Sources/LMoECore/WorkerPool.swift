#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// All the threads of the process: a fixed team that runs one job at a time, the caller among them.
///
/// Libraries called from a job must run single-threaded; nothing else in the project starts threads.
public final class WorkerPool: @unchecked Sendable {
  /// The number of workers, the caller included.
  public let count: Int

  // Guarded by `condition`.
  private let condition = Condition()
  private var job: (@Sendable (Int) -> Void)?
  private var epoch = 0
  private var running = 0
  private var started = false

  /// The pool of the process: one worker a core.
  public static let shared = WorkerPool(count: processorCount())

  /// Makes a pool of `count` workers (at least one).
  ///
  /// Its threads start with the first job and live as long as the process.
  public init(count: Int) { self.count = max(1, count) }

  /// The number of cores the process may use.
  public static func processorCount() -> Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

  /// Runs `body` once on each worker, with the worker's number, and returns when all have returned.
  ///
  /// Only one job runs at a time: a second caller waits (but a pool of one runs each in its caller). Not to be called from inside a job.
  public func run(_ body: @escaping @Sendable (Int) -> Void) {
    guard count > 1 else { return body(0) }
    condition.locked {
      while job != nil { condition.wait() }
      if !started {
        started = true
        for worker in 1..<count { start(worker) }
      }
      job = body
      epoch += 1
      running = count - 1
      condition.broadcast()
    }
    body(0)
    condition.locked {
      while running > 0 { condition.wait() }
      job = nil
      condition.broadcast()
    }
  }

  private func start(_ worker: Int) {
    let body = unsafe Unmanaged.passRetained(ThreadBody { [self] in work(worker) })
    #if canImport(Glibc)
      var thread = pthread_t()
      let failed = unsafe pthread_create(&thread, nil, runThreadBody, body.toOpaque())
      if failed == 0 { pthread_detach(thread) }
    #else
      var thread: pthread_t?
      let failed = unsafe pthread_create(&thread, nil, runThreadBody, body.toOpaque())
      if failed == 0, let thread { pthread_detach(thread) }
    #endif
    precondition(failed == 0, "cannot start a thread")
  }

  private func work(_ worker: Int) {
    var seen = 0
    while true {
      let body = condition.locked { () -> (@Sendable (Int) -> Void)? in
        while epoch == seen { condition.wait() }
        seen = epoch
        return job
      }
      body?(worker)
      condition.locked {
        running -= 1
        if running == 0 { condition.broadcast() }
      }
    }
  }
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
