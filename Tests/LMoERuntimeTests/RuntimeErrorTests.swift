import Testing

@testable import LMoERuntime

@Test func errorsCarryTheirFacts() {
  let error = RuntimeError(.emptyPrompt, path: "a.lmoe")
  #expect(error.code.rawValue == "empty-prompt" && error.path == "a.lmoe")
}
