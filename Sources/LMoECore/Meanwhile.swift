/// Something that is made on a thread of its own while others go on.
public final class Meanwhile<Value: Sendable>: Sendable {
  /// What the thread has made; it keeps this alone, so that the thread ends before its maker is gone.
  private final class Outcome: Sendable {
    let condition = Condition()
    let result = Guarded<Result<Value, any Error>?>(nil)

    func set(_ made: Result<Value, any Error>) {
      condition.locked {
        result.withValue { $0 = made }
        condition.broadcast()
      }
    }

    func wait() -> Result<Value, any Error> {
      condition.locked {
        while true {
          if let made = result.withValue({ $0 }) { return made }
          condition.wait()
        }
      }
    }
  }

  private let outcome = Outcome()

  /// Begins with it.
  ///
  /// - Parameters:
  ///   - isApart: Whether it is made on another thread; else, or if there is none, it is made here, at once.
  ///   - body: Makes it.
  public init(isApart: Bool = true, _ body: @escaping @Sendable () throws -> Value) {
    let outcome = outcome
    let make: @Sendable () -> Void = { outcome.set(Result(catching: body)) }
    if !isApart || !startThread(make) { make() }
  }

  deinit { _ = outcome.wait() }

  /// What was made; waits for it.
  ///
  /// - Throws: What making it threw.
  public func value() throws -> Value { try outcome.wait().get() }
}
