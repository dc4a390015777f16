private import CLMoEKernels
private import Synchronization

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// The threads that compute: a fixed team that runs one job at a time, the caller among them.
///
/// A worker without a job watches for the next one for some microseconds before it sleeps: a model has hundreds
/// of short jobs for every token, and waking a thread takes longer than most of them.
/// Libraries called from a job must run single-threaded; other threads are only those of `Meanwhile`.
public final class WorkerPool: @unchecked Sendable {
  /// The number of workers, the caller included.
  public let count: Int

  /// Guards what follows up to `job`; its waiters are callers that wait for the pool and workers that sleep.
  private let condition = Condition()
  private var isBusy = false
  private var started = false
  /// Written by the caller before `epoch`, read by workers after it.
  private var job: (@Sendable (Int) -> Void)?
  private let epoch = Atomic<Int>(0)
  private let running = Atomic<Int>(0)
  private let sleeping = Atomic<Int>(0)
  /// The item that the next free worker takes.
  private let next = Atomic<Int>(0)

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
  /// Only one job runs at a time: a second caller waits (but a pool of one runs each in its caller). Not to be
  /// called from inside a job.
  public func run(_ body: @escaping @Sendable (Int) -> Void) {
    guard count > 1 else { return body(0) }
    begin()
    perform(body)
    end()
  }

  /// Runs `body` once for each of `items` numbers, which the workers take as they become free.
  public func run(items: Int, _ body: @escaping @Sendable (_ item: Int, _ worker: Int) -> Void) {
    guard items > 1, count > 1 else {
      for item in 0..<max(0, items) { body(item, 0) }
      return
    }
    begin()
    next.store(0, ordering: .relaxed)
    perform { [self] worker in
      while true {
        let item = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard item < items else { return }
        body(item, worker)
      }
    }
    end()
  }

  /// Waits for the pool.
  private func begin() {
    condition.locked {
      while isBusy { condition.wait() }
      isBusy = true
      if !started {
        started = true
        for worker in 1..<count { start(worker) }
      }
    }
  }

  private func end() {
    condition.locked {
      isBusy = false
      condition.broadcast()
    }
  }

  private func perform(_ body: @escaping @Sendable (Int) -> Void) {
    job = body
    running.store(count - 1, ordering: .relaxed)
    epoch.wrappingAdd(1, ordering: .sequentiallyConsistent)
    // Either a worker that goes to sleep sees the new epoch, or it is counted here.
    if sleeping.load(ordering: .sequentiallyConsistent) > 0 { condition.locked { condition.broadcast() } }
    body(0)
    var turns = 0
    while running.load(ordering: .acquiring) > 0 {
      turns += 1
      // A worker that lost its core needs this one.
      if turns < Self.patience { lmoe_pause() } else { sched_yield() }
    }
    job = nil
  }

  /// Looks at the next job before a worker sleeps: some 50 µs.
  private static let patience = 2000

  private func start(_ worker: Int) {
    precondition(startThread { [self] in work(worker) }, "cannot start a thread")
  }

  private func work(_ worker: Int) {
    var seen = 0
    while true {
      var turns = 0
      while epoch.load(ordering: .acquiring) == seen, turns < Self.patience {
        turns += 1
        lmoe_pause()
      }
      if turns == Self.patience { sleep(after: seen) }
      seen += 1
      job?(worker)
      running.wrappingSubtract(1, ordering: .releasing)
    }
  }

  private func sleep(after seen: Int) {
    condition.locked {
      sleeping.wrappingAdd(1, ordering: .sequentiallyConsistent)
      while epoch.load(ordering: .sequentiallyConsistent) == seen { condition.wait() }
      sleeping.wrappingSubtract(1, ordering: .relaxed)
    }
  }
}
