/// Filters that apply other filters and tests to every element.
extension TemplateInterpreter {
  func choosingFilter(
    _ name: String, _ value: TemplateValue, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue? {
    // What is empty or none is passed over.
    let value = value.isTrue ? value : .list(TemplateElements([]))
    switch name {
    case "map": return try mapped(value, &inputs)
    case "select", "reject", "selectattr", "rejectattr": return try chosen(name, value, &inputs)
    default: return nil
    }
  }

  private func mapped(
    _ value: TemplateValue, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue {
    var results: [TemplateValue] = []
    if inputs.positional.isEmpty, let attribute = inputs.next("attribute") {
      let standard = inputs.next("default")
      for element in try iterated(value, by: "map") {
        results.append(try path(attribute, in: element, default: standard))
      }
    } else {
      guard case .string(let filterName)? = inputs.positional.first else {
        throw wrongArguments("map", inputs, takes: "the name of a filter or attribute=")
      }
      var rest = inputs
      rest.positional.removeFirst()
      inputs = TemplateInputs()
      results = try iterated(value, by: "map").map { (element) throws(TemplateError) in
        try nested { () throws(TemplateError) in try filter(filterName, element, rest) }
      }
    }
    return .sequence(.generator, try elements(results))
  }

  private func chosen(
    _ name: String, _ value: TemplateValue, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue {
    var rest = inputs
    inputs = TemplateInputs()
    var attribute: TemplateValue?
    if name == "selectattr" || name == "rejectattr" {
      attribute = rest.next("attribute")
      guard attribute != nil else { throw wrongArguments(name, rest, takes: "an attribute") }
    }
    let testName = try optionalText(rest.positional.first, name)
    if testName != nil { rest.positional.removeFirst() }
    let wanted = name == "select" || name == "selectattr"
    var results: [TemplateValue] = []
    for element in try iterated(value, by: name) {
      let tested = try attribute.map { (a) throws(TemplateError) in try path(a, in: element) } ?? element
      let holds =
        try testName.map { (test) throws(TemplateError) in try self.test(test, tested, rest) }
        ?? tested.isTrue
      if holds == wanted { results.append(element) }
    }
    return .sequence(.generator, try elements(results))
  }
}
