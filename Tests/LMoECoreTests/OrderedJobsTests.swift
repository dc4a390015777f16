import Foundation
import LMoECore
import Testing

/// Jobs side by side, a part of each in order.
@Suite(.timeLimit(.minutes(1))) struct OrderedJobsTests {
  struct Failure: Error, Equatable { let job: Int }

  private func pause(_ microseconds: UInt32) { usleep(microseconds) }

  @Test(arguments: [1, 2, 3, 8]) func `turns come in order`(workers: Int) throws {
    let pool = WorkerPool(count: workers)
    for count in [0, 1, 2, 7, 300] {
      let turns = Guarded<[Int]>([])
      let finished = Guarded<Set<Int>>([])
      try OrderedJobs<Failure>.run(count: count, on: pool) { (turn) throws(Failure) in
        if turn.index % 7 == 0 { pause(200) }
        let result = try turn.inTurn { () throws(Failure) -> Int in
          turns.withValue { $0.append(turn.index) }
          return turn.index * 2
        }
        #expect(result == turn.index * 2)
        #expect((0..<workers).contains(turn.worker))
        finished.withValue { _ = $0.insert(turn.index) }
      }
      #expect(turns.withValue { $0 } == Array(0..<count))
      #expect(finished.withValue { $0 } == Set(0..<count))
    }
  }

  @Test func `all workers work at once`() throws {
    // Each of the first four jobs waits until all four have begun: fewer workers would wait for ever.
    let pool = WorkerPool(count: 4)
    let begun = Guarded(0)
    let workers = Guarded<Set<Int>>([])
    try OrderedJobs<Failure>.run(count: 40, on: pool) { (turn) throws(Failure) in
      begun.withValue { $0 += 1 }
      workers.withValue { _ = $0.insert(turn.worker) }
      while begun.withValue({ $0 < 4 }) { pause(50) }
      _ = try turn.inTurn { () throws(Failure) in }
    }
    #expect(workers.withValue { $0 } == [0, 1, 2, 3])
  }

  @Test func `work after the turn is not in order`() throws {
    // Job 0 goes on after its turn until job 1 has had its own.
    let pool = WorkerPool(count: 2)
    let turns = Guarded(0)
    try OrderedJobs<Failure>.run(count: 2, on: pool) { (turn) throws(Failure) in
      _ = try turn.inTurn { () throws(Failure) in turns.withValue { $0 += 1 } }
      while turns.withValue({ $0 < 2 }) { pause(50) }
    }
    #expect(turns.withValue { $0 } == 2)
  }

  @Test(arguments: [1, 2, 4]) func `a job that never takes its turn lets the next pass`(workers: Int) throws {
    let turns = Guarded<[Int]>([])
    try OrderedJobs<Failure>.run(count: 100, on: WorkerPool(count: workers)) { (turn) throws(Failure) in
      if turn.index % 3 == 1 { return }
      _ = try turn.inTurn { () throws(Failure) in turns.withValue { $0.append(turn.index) } }
    }
    #expect(turns.withValue { $0 } == (0..<100).filter { $0 % 3 != 1 })
  }

  @Test func `the first failure by number is thrown`() {
    let pool = WorkerPool(count: 4)
    for round in 0..<200 {
      // Jobs 20 and later fail, the later ones sooner.
      let failure = #expect(throws: Failure.self) {
        try OrderedJobs<Failure>.run(count: 60, on: pool) { (turn) throws(Failure) in
          guard turn.index >= 20 else { return }
          pause(UInt32((24 - min(24, turn.index)) * 40 + round % 3 * 10))
          throw Failure(job: turn.index)
        }
      }
      #expect(failure?.job == 20)
    }
  }

  @Test(arguments: [1, 4]) func `a failure in turn ends the order`(workers: Int) {
    let turns = Guarded<[Int]>([])
    let refused = Guarded(0)
    let failure = #expect(throws: Failure.self) {
      try OrderedJobs<Failure>.run(count: 1000, on: WorkerPool(count: workers)) { (turn) throws(Failure) in
        let result: Bool? = try turn.inTurn { () throws(Failure) in
          if turn.index == 5 { throw Failure(job: 5) }
          turns.withValue { $0.append(turn.index) }
          return true
        }
        if result == nil { refused.withValue { $0 += 1 } }
      }
    }
    #expect(failure?.job == 5)
    #expect(turns.withValue { $0 } == Array(0..<5))
    #expect(refused.withValue { $0 } < workers, "only jobs that had begun are refused")
  }

  @Test func `the pool is whole after a failure`() throws {
    let pool = WorkerPool(count: 3)
    for _ in 0..<50 {
      #expect(throws: Failure.self) {
        try OrderedJobs<Failure>.run(count: 9, on: pool) { (turn) throws(Failure) in
          throw Failure(job: turn.index)
        }
      }
      let sum = Guarded(0)
      try OrderedJobs<Failure>.run(count: 9, on: pool) { (turn) throws(Failure) in
        sum.withValue { $0 += turn.index }
      }
      #expect(sum.withValue { $0 } == 36)
    }
  }

  @Test
  func `a later failure does not keep an earlier job from its turn`() {
    let isFailing = Guarded(false)
    let failure = #expect(throws: Failure.self) {
      try OrderedJobs<Failure>.run(count: 2, on: WorkerPool(count: 2)) { (turn) throws(Failure) in
        if turn.index == 1 {
          isFailing.withValue { $0 = true }
          throw Failure(job: 1)
        }
        while !isFailing.withValue({ $0 }) { pause(50) }
        pause(20_000)
        _ = try turn.inTurn { () throws(Failure) in throw Failure(job: 0) }
      }
    }
    #expect(failure?.job == 0)
  }
}
