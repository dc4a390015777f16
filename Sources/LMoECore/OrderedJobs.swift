/// Runs jobs on all workers of a pool, with one part of each in the order of their numbers.
///
/// A job does its heavy work, calls `inTurn` once for what must happen in order (handing out file offsets,
/// feeding a running hash), and may go on in parallel after that. A failure is thrown when all workers have
/// stopped (of several, that of the lowest job); jobs after it may not have run.
public final class OrderedJobs<Failure: Error>: @unchecked Sendable {
  // Guarded by `condition`.
  private let condition = Condition()
  private var next = 0
  private var turn = 0
  private var failure: (index: Int, error: Failure)?
  private let count: Int

  private init(count: Int) { self.count = count }

  /// One job's place in the order.
  public struct Turn {
    fileprivate let jobs: OrderedJobs
    /// The job's number.
    public let index: Int
    /// The worker that runs it: a number below the pool's count.
    public let worker: Int

    /// Waits for all jobs before this one to have had their turn, then runs `body`.
    ///
    /// - Returns: what `body` returns, or nil if an earlier job failed: the caller should then just return.
    public func inTurn<Result>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result? {
      guard jobs.await(index) else { return nil }
      let result = try body()
      jobs.finishTurn(index)
      return result
    }
  }

  /// Runs jobs 0 ..< `count` on `pool`.
  public static func run(
    count: Int, on pool: WorkerPool, _ job: @escaping @Sendable (Turn) throws(Failure) -> Void
  ) throws(Failure) {
    let jobs = OrderedJobs(count: count)
    pool.run { worker in
      while let index = jobs.take() {
        do throws(Failure) {
          try job(Turn(jobs: jobs, index: index, worker: worker))
          // A job that had nothing to do in order still has to let the next one pass.
          if jobs.await(index) { jobs.finishTurn(index) }
        } catch {
          jobs.fail(index, error)
        }
      }
    }
    if let failure = jobs.failure { throw failure.error }
  }

  private func take() -> Int? {
    condition.locked {
      guard failure == nil, next < count else { return nil }
      next += 1
      return next - 1
    }
  }

  private func await(_ index: Int) -> Bool {
    condition.locked {
      // A later job's failure does not keep this one from its turn: it might fail too, and is the first then.
      while turn < index, index < failure?.index ?? .max { condition.wait() }
      return turn == index && index < failure?.index ?? .max
    }
  }

  private func finishTurn(_ index: Int) {
    condition.locked {
      turn = index + 1
      condition.broadcast()
    }
  }

  private func fail(_ index: Int, _ error: Failure) {
    condition.locked {
      if index < failure?.index ?? .max { failure = (index, error) }
      condition.broadcast()
    }
  }
}
